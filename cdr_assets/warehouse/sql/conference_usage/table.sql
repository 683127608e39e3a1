-- One row per app and conference, over all its days. Records of one conf_num more than 7 days apart are two conferences.
CREATE TABLE conference_usage (
    usage_date DATE,                         -- UTC day of its first record; the partition
    last_usage_date DATE,                    -- UTC day of its last record
    app_id VARCHAR,                          -- EnableX project; NULL gathers records that name none
    conf_num VARCHAR,                        -- conference; NULL gathers a day's records that name none
    room_id VARCHAR,                         -- its room (the least, if records disagree)
    conf_name VARCHAR,                       -- its name (the least, if records disagree)
    connections BIGINT,                      -- records
    participants BIGINT,                     -- people: distinct user_ref, else user_name, else cdr_id
    participant_minutes DECIMAL(18,3),       -- minutes: sum of room_duration_s / 60
    billable_minutes BIGINT,                 -- minutes: each connection rounded up, then summed
    subscribed_minutes DECIMAL(18,3),        -- minutes of media received
    published_minutes DECIMAL(18,3),         -- minutes of media sent
    peak_participants BIGINT,                -- most connections open at once; 0 if none has a length
    conference_minutes DECIMAL(18,3),        -- minutes with anybody there
    alone_minutes DECIMAL(18,3),             -- minutes with exactly one person there
    met_minutes DECIMAL(18,3),               -- minutes with two people or more
    moderated_minutes DECIMAL(18,3),         -- minutes with a moderator and at least one other person
    rejoins BIGINT,                          -- returns of people after an absence
    first_connect_dt TIMESTAMP,              -- first entry, UTC
    last_disconnect_dt TIMESTAMP             -- last leave, UTC
);
