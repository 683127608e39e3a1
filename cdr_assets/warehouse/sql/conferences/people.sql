-- One row per person in each conference of the slice, with sums that are not rounded yet. `record` is the only
-- record of a person who has one; `enters` and `leaves` are the times of a person's only connection with a length.
CREATE OR REPLACE TEMP TABLE people AS
SELECT
    row_number() OVER () AS person_number,
    conference_number,
    person,
    count(*) AS connections,
    min(record) AS record,
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
