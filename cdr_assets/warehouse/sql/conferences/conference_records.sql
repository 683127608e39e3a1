-- The records of the touched conferences, each with the number of its conference, its row and its person.
CREATE OR REPLACE TEMP VIEW conference_records AS
SELECT
    conference_number,
    records.rowid AS record,
    person(user_ref, user_name, cdr_id) AS person,
    records.*
FROM call_detail_records AS records
JOIN conference_days
    ON conference_days.conf_num IS NOT DISTINCT FROM nullif(records.conf_num, '')
    AND conference_days.app_id IS NOT DISTINCT FROM nullif(records.app_id, '')
    AND conference_days.usage_date = records.usage_date;
