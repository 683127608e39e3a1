-- Records whose time in the room is more than a second away from disconnect minus connect.
SELECT
    usage_date,
    cdr_id,
    room_duration_s::VARCHAR AS room_duration_s,
    room_connect_dt::VARCHAR AS room_connect_dt,
    room_disconnect_dt::VARCHAR AS room_disconnect_dt
FROM call_detail_records
WHERE usage_date BETWEEN $first_date AND $last_date
  -- All three are whole milliseconds. The half millisecond keeps rounding from reporting a difference of one second.
  AND abs(room_duration_s::DOUBLE - date_diff('millisecond', room_connect_dt, room_disconnect_dt) / 1000) > 1.0005;
