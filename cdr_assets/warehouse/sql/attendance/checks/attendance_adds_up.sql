-- Conferences whose people, connections or minutes are not those of their row in conference_usage, which is compared with
-- the records. Minutes of people are rounded each, so their sum may differ by half a thousandth for each. A conference is
-- found on each of its days that is looked at.
WITH people AS (
    SELECT
        app_id,
        conf_num,
        usage_date AS first_date,
        last_usage_date AS last_date,
        count(*) AS participants,
        sum(connections) AS connections,
        sum(billable_minutes) AS billable_minutes,
        sum(participant_minutes) AS participant_minutes,
        sum(rejoins) AS rejoins
    FROM attendance
    WHERE usage_date <= $last_date
      AND last_usage_date >= $first_date
    GROUP BY ALL
),

conferences AS (
    SELECT *, usage_date AS first_date, last_usage_date AS last_date
    FROM conference_usage
    WHERE usage_date <= $last_date
      AND last_usage_date >= $first_date
),

found AS (
    SELECT
        coalesce(people.first_date, conferences.first_date) AS first_date,
        coalesce(people.last_date, conferences.last_date) AS last_date,
        coalesce(people.app_id, conferences.app_id) AS app_id,
        coalesce(people.conf_num, conferences.conf_num) AS conf_num,
        people.participants AS people_in_attendance,
        conferences.participants AS people_in_usage,
        people.connections AS connections_in_attendance,
        conferences.connections AS connections_in_usage,
        people.participant_minutes::DOUBLE AS minutes_in_attendance,
        conferences.participant_minutes::DOUBLE AS minutes_in_usage
    FROM people
    FULL JOIN conferences
        ON conferences.first_date = people.first_date
        AND conferences.last_date = people.last_date
        AND conferences.conf_num IS NOT DISTINCT FROM people.conf_num
        AND conferences.app_id IS NOT DISTINCT FROM people.app_id
    WHERE people.participants IS DISTINCT FROM conferences.participants
       OR people.connections IS DISTINCT FROM conferences.connections
       OR people.billable_minutes IS DISTINCT FROM conferences.billable_minutes
       OR people.rejoins IS DISTINCT FROM conferences.rejoins
       OR coalesce(
           abs(people.participant_minutes - conferences.participant_minutes) > 0.0005 * (people.participants + 1), true
       )
)

SELECT days.day::DATE AS usage_date, found.* EXCLUDE (first_date, last_date)
FROM found, unnest(generate_series(
    greatest(first_date, $first_date::DATE), least(last_date, $last_date::DATE), INTERVAL 1 DAY
)) AS days(day);
