-- One row a conference over all its days. Records of one conf_num more than 7 days apart are two conferences.
CREATE TABLE IF NOT EXISTS conference_usage (
    usage_date DATE,                         -- UTC day of its first record; the partition
    last_usage_date DATE,                    -- UTC day of its last record
    conf_num VARCHAR,                        -- conference; NULL gathers a day's records that name none
    room_id VARCHAR,                         -- its room (the least, where records disagree)
    conf_name VARCHAR,                       -- its name (the least, where records disagree)
    connections BIGINT,                      -- records
    participants BIGINT,                     -- distinct user_ref, else user_name, else cdr_id
    participant_minutes DECIMAL(18,3),       -- minutes: sum of room_duration_s / 60
    billable_minutes BIGINT,                 -- minutes: each connection rounded up, then summed
    subscribed_minutes DECIMAL(18,3),        -- minutes of media received
    published_minutes DECIMAL(18,3),         -- minutes of media sent
    peak_participants BIGINT,                -- most connections open at once; 0 where none has a length
    first_connect_dt TIMESTAMP,              -- first entry, UTC
    last_disconnect_dt TIMESTAMP             -- last leave, UTC
);
