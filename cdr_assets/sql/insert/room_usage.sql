-- One row a room of the UTC day. Seconds are summed as whole milliseconds, so that sums are exact in any order; minutes
-- are rounded once, half up. The peak is a running count over joins (+1) and leaves (-1), leaves first at one instant;
-- for it rooms are numbered, since a number sorts faster than a text.
INSERT INTO room_usage BY NAME
WITH connections AS (
    SELECT
        *,
        coalesce(nullif(user_ref, ''), nullif(user_name, ''), cdr_id) AS participant,
        (room_duration_s::DECIMAL(24,3) * 1000)::HUGEINT AS room_duration_ms
    FROM call_detail_records
    WHERE usage_date = $usage_date
),

room_numbers AS (
    SELECT room_id, row_number() OVER () AS room_number
    FROM (SELECT DISTINCT room_id FROM connections)
),

stays AS (
    SELECT room_number, room_connect_dt, room_disconnect_dt
    FROM connections
    JOIN room_numbers ON room_numbers.room_id IS NOT DISTINCT FROM connections.room_id
    WHERE room_connect_dt < room_disconnect_dt
),

peaks AS (
    SELECT room_number, max(open_connections) AS peak_participants
    FROM (
        SELECT room_number, sum(step) OVER (
            PARTITION BY room_number ORDER BY moment, step ROWS UNBOUNDED PRECEDING
        ) AS open_connections
        FROM (
            SELECT room_number, room_connect_dt AS moment, 1 AS step FROM stays
            UNION ALL
            SELECT room_number, room_disconnect_dt, -1 FROM stays
        )
    )
    GROUP BY room_number
),

rooms AS (
    SELECT
        usage_date,
        room_id,
        count(DISTINCT nullif(conf_num, '')) AS conferences,
        count(*) AS connections,
        count(DISTINCT participant) AS participants,
        try_cast(
            try_cast((coalesce(sum(room_duration_ms), 0) + 30) // 60 AS DECIMAL(18,0)) * 0.001 AS DECIMAL(18,3)
        ) AS participant_minutes,
        try_cast(coalesce(sum((greatest(room_duration_ms, 0) + 59999) // 60000), 0) AS BIGINT) AS billable_minutes,
        try_cast(coalesce(sum(subscribed_minutes), 0) AS DECIMAL(18,3)) AS subscribed_minutes,
        try_cast(coalesce(sum(published_minutes), 0) AS DECIMAL(18,3)) AS published_minutes,
        min(room_connect_dt) AS first_connect_dt,
        max(room_disconnect_dt) AS last_disconnect_dt
    FROM connections
    GROUP BY usage_date, room_id
)

SELECT rooms.*, coalesce(peaks.peak_participants, 0) AS peak_participants
FROM rooms
JOIN room_numbers ON room_numbers.room_id IS NOT DISTINCT FROM rooms.room_id
LEFT JOIN peaks USING (room_number);
