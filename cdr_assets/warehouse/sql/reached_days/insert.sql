-- The UTC days that connections of the day's records overlap.
INSERT INTO reached_days BY NAME
SELECT DISTINCT $usage_date AS usage_date, unnest(generate_series(first_date, last_date, INTERVAL 1 DAY))::DATE AS reached_date
FROM (
    SELECT DISTINCT
        room_connect_dt::DATE AS first_date,
        -- A connection that ends at midnight does not overlap the day that begins.
        (room_disconnect_dt - INTERVAL 1 MICROSECOND)::DATE AS last_date
    FROM call_detail_records
    WHERE usage_date = $usage_date
      AND has_presence(room_connect_dt, room_disconnect_dt)
);
