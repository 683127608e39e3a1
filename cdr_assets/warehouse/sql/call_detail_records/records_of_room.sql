-- Records of one room on the day.
SELECT cdr_id, room_duration_s
FROM call_detail_records
WHERE usage_date = $usage_date
  AND room_id = $subject;
