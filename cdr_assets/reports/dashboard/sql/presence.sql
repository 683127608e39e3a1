-- How long people were together in the conferences that began, and alone, in minutes of the conferences.
SELECT
    sum(conference_minutes) AS conference_minutes,
    sum(met_minutes) AS met_minutes,
    sum(alone_minutes) AS alone_minutes
FROM conference_usage;
