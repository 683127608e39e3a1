-- Of each conference: most connections open at once, and how long there was anybody, exactly one person, and a moderator
-- with somebody else, in microseconds.
CREATE OR REPLACE TEMP TABLE conference_presences AS
SELECT
    conference_number,
    max(connections) AS peak_participants,
    coalesce(sum(lasts) FILTER (people > 0), 0) AS conference_us,
    coalesce(sum(lasts) FILTER (people = 1), 0) AS alone_us,
    coalesce(sum(lasts) FILTER (people > 1 AND moderators > 0), 0) AS moderated_us
FROM moments
GROUP BY conference_number;
