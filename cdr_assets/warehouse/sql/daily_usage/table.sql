-- One row per app and UTC day. Counts and minutes are of the day's own records. Times alone, returns and the peak are what
-- lies within the day, of every connection that overlaps it, also one that began before.
CREATE TABLE daily_usage (
    usage_date DATE,                         -- UTC day; the partition
    app_id VARCHAR,                          -- EnableX project; NULL gathers records that name none
    connections BIGINT,                      -- records
    conferences BIGINT,                      -- distinct conf_num
    rooms BIGINT,                            -- distinct room_id
    participants BIGINT,                     -- people; one known by name alone counts once per conference
    participant_minutes DECIMAL(18,3),       -- minutes: sum of room_duration_s / 60
    billable_minutes BIGINT,                 -- minutes: each connection rounded up, then summed
    subscribed_minutes DECIMAL(18,3),        -- minutes of media received
    published_minutes DECIMAL(18,3),         -- minutes of media sent
    peak_connections BIGINT,                 -- most connections open at once; 0 if none has a length
    peak_at TIMESTAMP,                       -- first moment of the peak, UTC; NULL without one
    alone_minutes DECIMAL(18,3),             -- minutes with exactly one person in a conference, over all conferences
    rejoins BIGINT,                          -- returns of people to their conference after an absence within the day
    short_connections BIGINT,                -- records of less than 10 seconds
    median_lateness_s DECIMAL(18,3),         -- seconds from leaving to first landing, median; NULL if no leave is known
    p95_lateness_s DECIMAL(18,3),            -- seconds from leaving to first landing, 95th percentile
    provisional BOOLEAN                      -- whether more records of the day are expected
);
