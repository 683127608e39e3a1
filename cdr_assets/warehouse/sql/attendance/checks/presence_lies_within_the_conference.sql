-- Conferences in which somebody is present for longer than the conference lasts, or in which all people together are
-- present for less than the time alone and twice the time that they meet, or which has no peak though somebody was there.
-- Every number is rounded to a thousandth.
WITH people AS (
    SELECT
        app_id,
        conf_num,
        usage_date AS first_date,
        last_usage_date AS last_date,
        count(*) AS participants,
        max(presence_minutes) AS longest_presence,
        sum(presence_minutes) AS presence_minutes
    FROM attendance
    WHERE usage_date <= $last_date
      AND last_usage_date >= $first_date
      AND conf_num IS NOT NULL
    GROUP BY ALL
),

found AS (
    SELECT
        people.* EXCLUDE (participants),
        conference_minutes,
        met_minutes,
        peak_participants
    FROM people
    JOIN conference_usage AS conferences
        ON conferences.usage_date = people.first_date
        AND conferences.conf_num = people.conf_num
        AND conferences.app_id IS NOT DISTINCT FROM people.app_id
    -- What these two say follows from the join, but spares DuckDB the rest of the table.
    WHERE conferences.usage_date <= $last_date
      AND conferences.last_usage_date >= $first_date
      AND (
          longest_presence > conference_minutes
          OR (conference_minutes > 0 AND peak_participants < 1)
          OR presence_minutes + 0.0005 * (people.participants + 3) < alone_minutes + 2 * met_minutes
      )
)

SELECT days.day::DATE AS usage_date, found.* EXCLUDE (first_date, last_date)
FROM found, unnest(generate_series(
    greatest(first_date, $first_date::DATE), least(last_date, $last_date::DATE), INTERVAL 1 DAY
)) AS days(day);
