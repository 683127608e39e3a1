-- One row a room of the UTC day. Sums are of decimals and whole seconds, so that they are exact in any order; minutes
-- are rounded once, half up. The peak is a running count over joins (+1) and leaves (-1), leaves first at one instant.
-- It runs over all rooms in one go, since a room's count is back at 0 where the next room's begins; rooms are
-- numbered for it, since a number sorts faster than a text. Of too many rooms for the memory, each $slice of $slices
-- holds some: 0 of 1 holds all.
INSERT INTO room_usage BY NAME
WITH connections AS NOT MATERIALIZED (
    SELECT
        *,
        coalesce(nullif(user_ref, ''), nullif(user_name, ''), cdr_id) AS participant,
        greatest(ceil(room_duration_s)::BIGINT, 0) AS seconds_begun
    FROM call_detail_records
    WHERE usage_date = $usage_date
      AND hash(room_id) % $slices = $slice
),

rooms AS (
    SELECT
        row_number() OVER () AS room_number,
        usage_date,
        room_id,
        count(DISTINCT nullif(conf_num, '')) AS conferences,
        count(*) AS connections,
        count(DISTINCT participant) AS participants,
        coalesce(sum(room_duration_s), 0) AS room_duration_s,
        try_cast(coalesce(sum((seconds_begun + 59) // 60), 0) AS BIGINT) AS billable_minutes,
        try_cast(coalesce(sum(subscribed_minutes), 0) AS DECIMAL(18,3)) AS subscribed_minutes,
        try_cast(coalesce(sum(published_minutes), 0) AS DECIMAL(18,3)) AS published_minutes,
        min(room_connect_dt) AS first_connect_dt,
        max(room_disconnect_dt) AS last_disconnect_dt
    FROM connections
    GROUP BY usage_date, room_id
),

stays AS (
    SELECT room_number, room_connect_dt, room_disconnect_dt
    FROM connections
    JOIN rooms ON rooms.room_id IS NOT DISTINCT FROM connections.room_id
    WHERE room_connect_dt < room_disconnect_dt
),

peaks AS (
    SELECT room_number, max(open_connections) AS peak_participants
    FROM (
        SELECT room_number, sum(step) OVER (
            ORDER BY room_number, moment, step ROWS UNBOUNDED PRECEDING
        ) AS open_connections
        FROM (
            SELECT room_number, room_connect_dt AS moment, 1 AS step FROM stays
            UNION ALL
            SELECT room_number, room_disconnect_dt, -1 FROM stays
        )
    )
    GROUP BY room_number
)

SELECT
    rooms.* EXCLUDE (room_number, room_duration_s),
    try_cast(
        try_cast(((room_duration_s * 1000)::HUGEINT + 30) // 60 AS DECIMAL(18,0)) * 0.001 AS DECIMAL(18,3)
    ) AS participant_minutes,
    coalesce(peaks.peak_participants, 0) AS peak_participants
FROM rooms
LEFT JOIN peaks USING (room_number);
