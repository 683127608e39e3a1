-- The UTC days that connections of the days' records overlap.
INSERT INTO reached_days BY NAME
SELECT DISTINCT
    usage_date,
    unnest(generate_series(first_date, last_date, INTERVAL 1 DAY))::DATE AS reached_date
FROM (
    SELECT DISTINCT
        usage_date,
        room_connect_dt::DATE AS first_date,
        last_day_of(room_disconnect_dt) AS last_date
    FROM call_detail_records
    WHERE usage_date BETWEEN $first_date AND $last_date
      AND has_presence(room_connect_dt, room_disconnect_dt)
);
