-- One row per record, direction and kind of media for which EnableX tells the quality. A value of another shape is NULL.
CREATE TABLE connection_quality (
    usage_date DATE,                         -- UTC day of the record; the partition
    cdr_id VARCHAR,                          -- record
    app_id VARCHAR,                          -- EnableX project; NULL gathers records that name none
    client VARCHAR,                          -- well-known browser or app, else "other app", and system; NULL if neither is known
    direction VARCHAR,                       -- send or receive, as seen by the user
    media VARCHAR,                           -- video, audio or sharing
    avg_bitrate DECIMAL(18,3),               -- average bitrate, as EnableX gives it; the API does not document the unit
    min_bitrate DECIMAL(18,3),               -- least bitrate, in the same unit
    max_bitrate DECIMAL(18,3),               -- largest bitrate, in the same unit
    avg_quality VARCHAR,                     -- Good or Bad; NULL if it is neither
    good_percent DECIMAL(18,3)               -- percent of the time that the quality was good
);
