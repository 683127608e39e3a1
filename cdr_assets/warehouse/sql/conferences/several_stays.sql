-- The connections of people of the slice who have several with a length.
CREATE OR REPLACE TEMP TABLE several_stays AS
SELECT person_number, conference_number, people.is_moderator, room_connect_dt AS enters, room_disconnect_dt AS leaves
FROM conference_records
JOIN people USING (conference_number, person)
WHERE stays > 1
  AND room_connect_dt < room_disconnect_dt;
