-- Days on which a connection of their own records was open, but which have no peak.
SELECT records.usage_date, records.app_id, count(*) AS connections, any_value(peak_connections) AS peak_connections
FROM (
    SELECT usage_date, nullif(app_id, '') AS app_id
    FROM call_detail_records
    WHERE usage_date BETWEEN $first_date AND $last_date
      AND has_presence(room_connect_dt, room_disconnect_dt)
      AND room_connect_dt < usage_date + 1
      AND room_disconnect_dt > usage_date
) AS records
LEFT JOIN daily_usage AS days
    ON days.usage_date = records.usage_date
    AND days.app_id IS NOT DISTINCT FROM records.app_id
WHERE coalesce(peak_connections, 0) < 1
GROUP BY ALL;
