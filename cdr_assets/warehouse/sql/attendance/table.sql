-- One row per person in each conference, over all the conference's days. A person is known by the user's reference,
-- else by the name, which means somebody only within the conference, else by the record. Presence is what the times of
-- entering and leaving say; a connection without both, or of no length, has none.
CREATE TABLE attendance (
    usage_date DATE,                         -- UTC day of the conference's first record; the partition
    last_usage_date DATE,                    -- UTC day of the conference's last record
    app_id VARCHAR,                          -- EnableX project; NULL gathers records that name none
    conf_num VARCHAR,                        -- conference; NULL gathers a day's records that name none
    room_id VARCHAR,                         -- room the person was in (the least, if records disagree)
    participant VARCHAR,                     -- the person: user_ref, user_name or cdr_id
    participant_known_by VARCHAR,            -- which of the three it is
    user_name VARCHAR,                       -- name shown in the call (the least, if records disagree)
    user_role VARCHAR,                       -- moderator if ever, else the least of the roles
    client VARCHAR,                          -- well-known browser or app, else "other app", and system (the least, if several)
    connections BIGINT,                      -- records
    rejoins BIGINT,                          -- returns after an absence
    first_connect_dt TIMESTAMP,              -- first entry, UTC
    last_disconnect_dt TIMESTAMP,            -- last leave, UTC
    presence_minutes DECIMAL(18,3),          -- minutes present; two connections at once count once
    participant_minutes DECIMAL(18,3),       -- minutes: sum of room_duration_s / 60
    billable_minutes BIGINT,                 -- minutes: each connection rounded up, then summed
    longest_absence_s DECIMAL(18,3),         -- seconds of the longest absence; 0 without one
    alone_minutes DECIMAL(18,3),             -- minutes present with nobody else there
    with_moderator_minutes DECIMAL(18,3),    -- minutes present together with another person who is a moderator
    share DECIMAL(18,3)                      -- presence divided by the conference's length, 0 to 1; NULL without a length
);
