-- Rooms of the day whose connections or minutes differ from those of their records; minutes are rounded to 0.001.
WITH records AS (
    SELECT
        room_id,
        count(*) AS connections,
        coalesce(sum(room_duration_s), 0) / 60 AS participant_minutes,
        coalesce(sum(subscribed_minutes), 0) AS subscribed_minutes,
        coalesce(sum(published_minutes), 0) AS published_minutes
    FROM call_detail_records
    WHERE usage_date = $usage_date
    GROUP BY room_id
)

SELECT
    coalesce(records.room_id, rooms.room_id) AS room_id,
    records.connections AS connections_in_records,
    rooms.connections AS connections_in_usage,
    records.participant_minutes AS minutes_in_records,
    rooms.participant_minutes::DOUBLE AS minutes_in_usage
FROM records
FULL JOIN (FROM room_usage WHERE usage_date = $usage_date) AS rooms
    ON rooms.room_id IS NOT DISTINCT FROM records.room_id
WHERE rooms.connections IS DISTINCT FROM records.connections
   OR (abs(rooms.participant_minutes - records.participant_minutes) <= 0.001) IS NOT TRUE
   OR rooms.subscribed_minutes IS DISTINCT FROM records.subscribed_minutes
   OR rooms.published_minutes IS DISTINCT FROM records.published_minutes;
