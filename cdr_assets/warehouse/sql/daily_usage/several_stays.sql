-- The connections of people who have several in a conference on a summed day, as in conferences/several_stays.sql.
CREATE OR REPLACE TEMP TABLE several_stays AS
SELECT person_number, conference_number, is_moderator, conference_stays.enters, conference_stays.leaves
FROM conference_stays
JOIN people USING (conference_number, person)
WHERE stays > 1;
