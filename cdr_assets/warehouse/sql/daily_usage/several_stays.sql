-- The connections of people who have several in a conference on a summed day, as in conferences/several_stays.sql.
CREATE OR REPLACE TEMP TABLE several_stays AS
SELECT person_number, people.conference_number, is_moderator, day_stays.enters, day_stays.leaves
FROM day_stays
JOIN conferences
    ON conferences.conf_num = day_stays.conf_num
    AND conferences.app_id IS NOT DISTINCT FROM day_stays.app_id
    AND conferences.usage_date = day_stays.usage_date
    AND conferences.conference = day_stays.conference
JOIN people
    ON people.conference_number = conferences.conference_number
    AND people.person = day_stays.person
    AND people.stays > 1;
