-- One row per person, conference and summed day, as in conferences/people.sql. Who moderates is not asked.
CREATE OR REPLACE TEMP TABLE people AS
SELECT
    row_number() OVER () AS person_number,
    conference_number,
    person,
    false AS is_moderator,
    count(*) AS stays,
    min(enters) AS enters,
    max(leaves) AS leaves
FROM day_stays
JOIN conferences
    ON conferences.conf_num = day_stays.conf_num
    AND conferences.app_id IS NOT DISTINCT FROM day_stays.app_id
    AND conferences.usage_date = day_stays.usage_date
    AND conferences.conference = day_stays.conference
GROUP BY conference_number, person;
