-- One row per field that a later version of a record changed. Versions that changed no field, such as one with its keys
-- in another order, have none. Of a value, the first 65,536 letters are kept.
CREATE TABLE record_changes (
    usage_date DATE,                         -- UTC day of the record's newest version; the partition
    cdr_id VARCHAR,                          -- identifies the record
    app_id VARCHAR,                          -- EnableX project that made the call
    landed_at TIMESTAMP,                     -- when the request was sent that brought the change, UTC
    version INTEGER,                         -- number of the version with the change, 2 or more
    field VARCHAR,                           -- field as EnableX names it, parts joined by dots: room.duration
    before VARCHAR,                          -- its value in the version before, as text; NULL if it had none
    after VARCHAR                            -- its value in this version, as text; NULL if it has none
);
