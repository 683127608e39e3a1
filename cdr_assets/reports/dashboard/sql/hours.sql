-- When conferences begin: participant minutes by the hour and the weekday (1 is Monday) of the first entry, UTC.
SELECT
    isodow(first_connect_dt) AS weekday,
    hour(first_connect_dt) AS hour,
    sum(participant_minutes)::DECIMAL(18,3) AS participant_minutes
FROM conference_usage
WHERE first_connect_dt IS NOT NULL
GROUP BY ALL
ORDER BY ALL;
