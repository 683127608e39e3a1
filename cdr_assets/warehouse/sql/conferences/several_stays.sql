-- The connections of people of the slice who have several with a length.
CREATE OR REPLACE TEMP TABLE several_stays AS
SELECT person_number, people.conference_number, is_moderator, room_connect_dt AS enters, room_disconnect_dt AS leaves
FROM call_detail_records AS records
JOIN conference_days
    ON conference_days.conf_num IS NOT DISTINCT FROM nullif(records.conf_num, '')
    AND conference_days.app_id IS NOT DISTINCT FROM nullif(records.app_id, '')
    AND conference_days.usage_date = records.usage_date
JOIN people
    ON people.conference_number = conference_days.conference_number
    AND people.person = person(user_ref, user_name, cdr_id)
    AND people.stays > 1
WHERE records.usage_date BETWEEN $first_date AND $last_date
  AND room_connect_dt < room_disconnect_dt;
