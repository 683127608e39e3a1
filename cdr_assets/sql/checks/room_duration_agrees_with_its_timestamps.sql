-- Records whose time in the room is more than a second away from disconnect minus connect.
SELECT
    cdr_id,
    room_duration_s::VARCHAR AS room_duration_s,
    room_connect_dt::VARCHAR AS room_connect_dt,
    room_disconnect_dt::VARCHAR AS room_disconnect_dt
FROM call_detail_records
WHERE usage_date = $usage_date
  AND abs(
      (room_duration_s::DECIMAL(24,3) * 1000)::HUGEINT
      - (epoch_us(room_disconnect_dt)::HUGEINT - epoch_us(room_connect_dt)) // 1000
  ) > 1000;
