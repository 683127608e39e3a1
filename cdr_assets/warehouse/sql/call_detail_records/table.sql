-- One row per cdr_id, its newest version: one user's connection to one conference in one room. Times are UTC. Two
-- random identifiers that nothing here reads are compressed with zstd, which takes half the time to write.
CREATE TABLE call_detail_records (
    usage_date DATE,                         -- UTC day of trans_date; the partition
    cdr_id VARCHAR,                          -- identifies the record
    app_id VARCHAR,                          -- EnableX project that made the call
    trans_date TIMESTAMP,                    -- when EnableX dated the record, UTC
    conf_num VARCHAR,                        -- conference: one session in a room
    call_num VARCHAR USING COMPRESSION zstd,     -- as EnableX gives it
    call_log_id VARCHAR USING COMPRESSION zstd,  -- as EnableX gives it
    room_id VARCHAR,                         -- room; lives on and hosts many conferences
    room_connect_dt TIMESTAMP,               -- user entered the room, UTC
    room_disconnect_dt TIMESTAMP,            -- user left the room, UTC
    room_duration_s DECIMAL(18,3),           -- seconds in the room, as given; else disconnect minus connect
    room_details JSON,                       -- room's own fields, where the account sends them
    user_ref VARCHAR,                        -- the customer's own reference for the user
    user_name VARCHAR,                       -- name shown in the call
    user_role VARCHAR,                       -- moderator, participant, viewer or audience
    user_ip VARCHAR,                         -- user's address
    user_agent VARCHAR,                      -- user's browser or app
    conf_name VARCHAR,                       -- conference's name, given with the user
    sigserver_ip VARCHAR,                    -- address at the signalling server
    sigserver_connect_dt TIMESTAMP,          -- signalling connection opened, UTC
    sigserver_disconnect_dt TIMESTAMP,       -- signalling connection closed, UTC
    sigserver_duration_s DECIMAL(18,3),      -- seconds of the signalling connection
    hold_duration_s DECIMAL(18,3),           -- seconds on hold
    published_audio BOOLEAN,                 -- user published audio
    published_data BOOLEAN,                  -- user published data
    published_video BOOLEAN,                 -- user published video
    published_screen BOOLEAN,                -- user published a screen share
    published_url BOOLEAN,                   -- user published a URL
    subscribed_minutes DECIMAL(18,3),        -- minutes of media received
    published_minutes DECIMAL(18,3),         -- minutes of media sent
    screen_minutes DECIMAL(18,3),            -- minutes of screen share
    connect_minutes DECIMAL(18,3),           -- minutes connected, as EnableX counts them
    connect_minutes_cal DECIMAL(18,3),       -- minutes connected, as EnableX calculates them
    room_connect_minutes DECIMAL(18,3),      -- minutes connected to the room, as EnableX counts them
    sip BOOLEAN,                             -- connection came over SIP
    parent_partner_id VARCHAR,               -- as EnableX gives it
    stats_quality JSON,                      -- bitrates and quality, sent and received
    price JSON,                              -- EnableX's price for the record
    lost_fields VARCHAR,                     -- fields that did not fit and are NULL, comma-separated; NULL if none
    first_landed_at TIMESTAMP,               -- when the request was sent that first brought the record, UTC
    landed_at TIMESTAMP,                     -- when the request was sent that brought this version, UTC
    versions INTEGER                         -- number of versions of the record that landed, this one included
);
