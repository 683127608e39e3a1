-- Conferences whose number and room begin with these texts, newest first, at most $most. No text is every conference.
SELECT
    usage_date,
    first_connect_dt,
    conf_num,
    room_id,
    participants,
    connections,
    conference_minutes,
    met_minutes,
    alone_minutes,
    participant_minutes,
    rejoins
FROM conference_usage
WHERE ($number = '' OR starts_with(conf_num, $number))
  AND ($room = '' OR starts_with(room_id, $room))
ORDER BY usage_date DESC, first_connect_dt DESC, conf_num
LIMIT $most;
