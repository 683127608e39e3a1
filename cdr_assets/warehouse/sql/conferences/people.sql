-- One row per person in each conference of the slice, with sums that are not rounded yet. A person's number is the row of
-- the first of the person's records; `enters` and `leaves` are the times of a person's only connection with a length.
CREATE OR REPLACE TEMP TABLE people AS
SELECT
    min(record) AS person_number,
    conference_number,
    person,
    count(*) AS connections,
    bool_or(is_moderator) AS is_moderator,
    coalesce(sum(room_duration_s), 0) AS room_duration_s,
    coalesce(sum(minutes_begun(room_duration_s)), 0) AS billable_minutes,
    coalesce(sum(subscribed_minutes), 0) AS subscribed_minutes,
    coalesce(sum(published_minutes), 0) AS published_minutes,
    min(room_connect_dt) AS first_connect_dt,
    max(room_disconnect_dt) AS last_disconnect_dt,
    count_if(room_connect_dt < room_disconnect_dt) AS stays,
    min(room_connect_dt) FILTER (room_connect_dt < room_disconnect_dt) AS enters,
    max(room_disconnect_dt) FILTER (room_connect_dt < room_disconnect_dt) AS leaves
FROM conference_records
GROUP BY conference_number, person;
