-- Of each conference: most connections open at once, returns of people, and how long there was anybody, exactly one
-- person, and a moderator with somebody else, in microseconds.
CREATE OR REPLACE TEMP TABLE conference_presences AS
WITH times AS (
    SELECT
        conference_number,
        max(connections) AS peak_participants,
        coalesce(sum(lasts) FILTER (people > 0), 0) AS conference_us,
        coalesce(sum(lasts) FILTER (people = 1), 0) AS alone_us,
        coalesce(sum(lasts) FILTER (people > 1 AND moderators > 0), 0) AS moderated_us
    FROM moments
    GROUP BY conference_number
),

returns AS (
    SELECT conference_number, count(*) AS rejoins
    FROM presences
    WHERE absent_before > 0
    GROUP BY conference_number
)

SELECT times.*, coalesce(rejoins, 0) AS rejoins
FROM times
LEFT JOIN returns USING (conference_number);
