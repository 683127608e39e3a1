-- Rooms of a day whose connections or minutes differ from those of their records, or whose minutes overflowed.
WITH records AS (
    SELECT
        usage_date,
        nullif(app_id, '') AS app_id,
        nullif(room_id, '') AS room_id,
        count(*) AS connections,
        coalesce(sum(room_duration_s), 0) AS room_duration_s,
        coalesce(sum(subscribed_minutes), 0) AS subscribed_minutes,
        coalesce(sum(published_minutes), 0) AS published_minutes
    FROM call_detail_records
    WHERE usage_date BETWEEN $first_date AND $last_date
    GROUP BY ALL
)

SELECT
    coalesce(records.usage_date, rooms.usage_date) AS usage_date,
    coalesce(records.app_id, rooms.app_id) AS app_id,
    coalesce(records.room_id, rooms.room_id) AS room_id,
    records.connections AS connections_in_records,
    rooms.connections AS connections_in_usage,
    records.room_duration_s / 60 AS minutes_in_records,
    rooms.participant_minutes::DOUBLE AS minutes_in_usage
FROM records
FULL JOIN (FROM room_usage WHERE usage_date BETWEEN $first_date AND $last_date) AS rooms
    ON rooms.usage_date = records.usage_date
    AND rooms.room_id IS NOT DISTINCT FROM records.room_id
    AND rooms.app_id IS NOT DISTINCT FROM records.app_id
WHERE rooms.connections IS DISTINCT FROM records.connections
   OR rooms.participant_minutes IS NULL
   OR rooms.participant_minutes IS DISTINCT FROM minutes(records.room_duration_s)
   OR rooms.subscribed_minutes IS DISTINCT FROM records.subscribed_minutes
   OR rooms.published_minutes IS DISTINCT FROM records.published_minutes;
