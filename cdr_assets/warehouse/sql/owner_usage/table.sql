-- One row per app, owner, billing code and UTC day. The two names are those of the record's room_details, else those of
-- the file of rooms. What has neither is in a row of NULLs, so that the sums are those of all records.
CREATE TABLE owner_usage (
    usage_date DATE,                         -- UTC day; the partition
    app_id VARCHAR,                          -- EnableX project; NULL gathers records that name none
    owner_ref VARCHAR,                       -- owner of the room; NULL if nobody is known
    billing_code VARCHAR,                    -- billing code of the room; NULL if none is known
    owner_is_in_rooms BOOLEAN,               -- whether the file of rooms names the owner on that day
    billing_code_is_in_rooms BOOLEAN,        -- whether the file of rooms names the billing code on that day
    connections BIGINT,                      -- records
    conferences BIGINT,                      -- distinct conf_num
    rooms BIGINT,                            -- distinct room_id
    participants BIGINT,                     -- people: distinct user_ref, else user_name, else cdr_id
    participant_minutes DECIMAL(18,3),       -- minutes: sum of room_duration_s / 60
    billable_minutes BIGINT,                 -- minutes: each connection rounded up, then summed
    subscribed_minutes DECIMAL(18,3),        -- minutes of media received
    published_minutes DECIMAL(18,3)          -- minutes of media sent
);
