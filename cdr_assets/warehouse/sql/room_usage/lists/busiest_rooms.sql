-- The ten rooms of each day with most participant minutes.
SELECT usage_date, room_id, participant_minutes, conferences
FROM room_usage
WHERE usage_date BETWEEN $first_date AND $last_date
QUALIFY row_number() OVER (PARTITION BY usage_date ORDER BY participant_minutes DESC, room_id, app_id) <= 10
ORDER BY usage_date, participant_minutes DESC, room_id, app_id;
