-- One row per app, client and UTC day: how much it was used, how often its connections were short, and how good its media
-- were. A connection is rated in a direction and kind of media if EnableX tells that it was Good or Bad there.
CREATE TABLE client_usage (
    usage_date DATE,                         -- UTC day of the records; the partition
    app_id VARCHAR,                          -- EnableX project; NULL gathers records that name none
    client VARCHAR,                          -- well-known browser or app, else "other app", and system; NULL gathers unknown ones
    connections BIGINT,                      -- records
    short_connections BIGINT,                -- records of less than 10 seconds
    participant_minutes DECIMAL(18,3),       -- minutes: sum of room_duration_s / 60
    sent_video_rated BIGINT,                 -- records with a rating of the video that the user sent
    sent_video_good BIGINT,                  -- records of these that were Good
    sent_audio_rated BIGINT,                 -- records with a rating of the audio that the user sent
    sent_audio_good BIGINT,                  -- records of these that were Good
    sent_sharing_rated BIGINT,               -- records with a rating of the screen share that the user sent
    sent_sharing_good BIGINT,                -- records of these that were Good
    received_video_rated BIGINT,             -- records with a rating of the video that the user received
    received_video_good BIGINT,              -- records of these that were Good
    received_audio_rated BIGINT,             -- records with a rating of the audio that the user received
    received_audio_good BIGINT,              -- records of these that were Good
    received_sharing_rated BIGINT,           -- records with a rating of the screen share that the user received
    received_sharing_good BIGINT             -- records of these that were Good
);
