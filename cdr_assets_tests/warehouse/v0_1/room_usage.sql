-- One row a room and UTC day. Minutes are exact; billable minutes round each connection up.
CREATE TABLE IF NOT EXISTS room_usage (
    usage_date DATE,                         -- UTC day; the partition
    room_id VARCHAR,                         -- room; NULL gathers records that name none
    conferences BIGINT,                      -- distinct conf_num
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
