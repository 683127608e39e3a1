-- Participant minutes of each of the rooms $rooms, one number for every $step_days days of the period, in order.
-- '' in $rooms is what names no room.
WITH rooms AS (SELECT unnest($rooms::VARCHAR[]) AS key),

steps AS (
    SELECT unnest(generate_series(0, $last_date::DATE - $first_date::DATE, $step_days::BIGINT)) AS step
),

minutes AS (
    SELECT
        coalesce(room_id, '') AS key,
        (usage_date - $first_date::DATE) // $step_days * $step_days AS step,
        sum(participant_minutes)::DOUBLE AS minutes
    FROM room_usage
    WHERE coalesce(room_id, '') IN (SELECT key FROM rooms)
    GROUP BY ALL
)

SELECT nullif(key, '') AS room_id, list(coalesce(minutes, 0) ORDER BY step) AS minutes
FROM rooms
CROSS JOIN steps
LEFT JOIN minutes USING (key, step)
GROUP BY key;
