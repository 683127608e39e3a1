-- Of each person: how often they returned, and how long they were there, away at most, alone, and together with another
-- person who is a moderator, in microseconds.
CREATE OR REPLACE TEMP TABLE person_presences AS
WITH own AS (
    SELECT
        person_number,
        sum(leaves - enters) AS present_us,
        count(*) - 1 AS rejoins,
        max(absent_before) AS longest_absence_us
    FROM presences
    GROUP BY person_number
),

alone AS (
    SELECT sum_of_numbers AS person_number, sum(lasts) AS alone_us
    FROM moments
    WHERE people = 1
    GROUP BY sum_of_numbers
),

-- All the time with a moderator, and with two of them, up to each moment. Somebody's part is the time up to leaving
-- less the time up to entering. Of the rows of one moment only the last has a length, so it must come last here, too.
with_moderators AS (
    SELECT
        person_number,
        step,
        is_moderator,
        sum(CASE WHEN moderators > 0 THEN lasts ELSE 0 END) OVER before_it AS with_one,
        sum(CASE WHEN moderators > 1 THEN lasts ELSE 0 END) OVER before_it AS with_two
    FROM moments
    WINDOW before_it AS (
        PARTITION BY conference_number ORDER BY moment, lasts ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
),

moderated AS (
    SELECT person_number, -sum(step * coalesce(CASE WHEN is_moderator THEN with_two ELSE with_one END, 0)) AS moderated_us
    FROM with_moderators
    WHERE person_number IS NOT NULL
    GROUP BY person_number
)

SELECT own.*, coalesce(alone_us, 0) AS alone_us, coalesce(moderated_us, 0) AS moderated_us
FROM own
LEFT JOIN alone USING (person_number)
LEFT JOIN moderated USING (person_number);
