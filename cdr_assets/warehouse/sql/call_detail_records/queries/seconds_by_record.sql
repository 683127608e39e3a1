-- The time in the room of each record of the day.
SELECT cdr_id, room_duration_s
FROM call_detail_records
WHERE usage_date = $usage_date;
