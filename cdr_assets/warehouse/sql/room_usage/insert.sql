-- One row per app, room and UTC day. Sums are of decimals and whole seconds, so they are exact in any order. The peak is a
-- running count over joins (+1) and leaves (-1), leaves first at one instant. It runs over all rooms in one go, since a
-- room's count is back at 0 before the next room begins. Rooms are numbered for it, because a number sorts faster than a
-- text. When there are too many rooms for the memory, each $slice of $slices holds some: 0 of 1 holds all.
INSERT INTO room_usage BY NAME
WITH connections AS NOT MATERIALIZED (
    SELECT *
        REPLACE (nullif(app_id, '') AS app_id, nullif(room_id, '') AS room_id),
        person(user_ref, user_name, cdr_id) AS person
    FROM call_detail_records
    WHERE usage_date BETWEEN $first_date AND $last_date
      AND hash(room_id) % $slices = $slice
),

rooms AS (
    SELECT
        row_number() OVER () AS room_number,
        usage_date,
        app_id,
        room_id,
        count(DISTINCT nullif(conf_num, '')) AS conferences,
        count(*) AS connections,
        count(DISTINCT person) AS participants,
        coalesce(sum(room_duration_s), 0) AS room_duration_s,
        sum_of_whole_minutes(sum(minutes_begun(room_duration_s))) AS billable_minutes,
        sum_of_minutes(sum(subscribed_minutes)) AS subscribed_minutes,
        sum_of_minutes(sum(published_minutes)) AS published_minutes,
        min(room_connect_dt) AS first_connect_dt,
        max(room_disconnect_dt) AS last_disconnect_dt
    FROM connections
    GROUP BY usage_date, app_id, room_id
),

stays AS (
    SELECT room_number, room_connect_dt, room_disconnect_dt
    FROM connections
    JOIN rooms
        ON rooms.usage_date = connections.usage_date
        AND rooms.room_id IS NOT DISTINCT FROM connections.room_id
        AND rooms.app_id IS NOT DISTINCT FROM connections.app_id
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
    minutes(room_duration_s) AS participant_minutes,
    coalesce(peaks.peak_participants, 0) AS peak_participants
FROM rooms
LEFT JOIN peaks USING (room_number);
