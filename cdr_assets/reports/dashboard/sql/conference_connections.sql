-- The connections of a conference, each with its person, how often its record was restated, and its bad media.
SELECT
    participant_known_by,
    participant,
    room_connect_dt,
    room_disconnect_dt,
    coalesce(has_presence(room_connect_dt, room_disconnect_dt), false) AS has_presence,
    versions,
    lost_fields,
    (
        SELECT string_agg(DISTINCT direction || ' ' || media, ', ')
        FROM connection_quality AS quality
        WHERE quality.usage_date = records.usage_date
          AND quality.cdr_id = records.cdr_id
          AND avg_quality = 'Bad'
    ) AS bad_media
FROM call_detail_records AS records
WHERE conf_num = $conf_num
  AND nullif(app_id, '') IS NOT DISTINCT FROM $app_id
ORDER BY room_connect_dt, cdr_id;
