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
FROM conference_stays
GROUP BY conference_number, person;
