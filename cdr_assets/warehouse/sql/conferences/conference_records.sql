-- The records of the conferences of the slice, each with the number of its conference, its row and its person. Finding
-- them reads every record of the days, so it is done once.
CREATE OR REPLACE TEMP TABLE conference_records AS
SELECT
    conference_number,
    records.rowid AS record,
    person(user_ref, user_name, cdr_id) AS person,
    coalesce(lower(user_role) = 'moderator', false) AS is_moderator,
    nullif(room_id, '') AS room_id,
    nullif(conf_name, '') AS conf_name,
    room_duration_s,
    subscribed_minutes,
    published_minutes,
    room_connect_dt,
    room_disconnect_dt
FROM call_detail_records AS records
JOIN conference_days
    ON conference_days.conf_num IS NOT DISTINCT FROM nullif(records.conf_num, '')
    AND conference_days.app_id IS NOT DISTINCT FROM nullif(records.app_id, '')
    AND conference_days.usage_date = records.usage_date
WHERE records.usage_date BETWEEN $first_date AND $last_date
  AND conference_number BETWEEN $first_number AND $last_number;
