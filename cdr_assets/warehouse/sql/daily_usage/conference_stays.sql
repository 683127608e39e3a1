-- The stays that belong to a conference, each with its number.
CREATE OR REPLACE TEMP VIEW conference_stays AS
SELECT conference_number, person, enters, leaves
FROM day_stays
JOIN conferences
    ON conferences.conf_num = day_stays.conf_num
    AND conferences.app_id IS NOT DISTINCT FROM day_stays.app_id
    AND conferences.usage_date = day_stays.usage_date
    AND conferences.conference = day_stays.conference;
