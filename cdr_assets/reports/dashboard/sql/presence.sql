-- The conferences that began, and how long people were together in them, and alone, in minutes of the conferences.
SELECT
    count(conf_num) AS conferences,
    sum(conference_minutes) AS conference_minutes,
    sum(met_minutes) AS met_minutes,
    sum(alone_minutes) AS alone_minutes
FROM conference_usage;
