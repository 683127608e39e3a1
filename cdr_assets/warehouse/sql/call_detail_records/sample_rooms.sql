-- The busiest rooms of the day.
SELECT room_id AS subject
FROM call_detail_records
WHERE usage_date = $usage_date
  AND room_id <> ''
GROUP BY room_id
ORDER BY count(*) DESC, room_id
LIMIT $sample;
