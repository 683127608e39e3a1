-- The account's figures of each UTC day, all apps together, each with its mean on the same weekday in the four weeks
-- before. The mean is NULL where none of these four days is built. A day that has no records, but that connections of
-- other days overlap, is not part of it.
WITH days AS (
    SELECT
        usage_date,
        sum(connections)::BIGINT AS connections,
        sum(conferences)::BIGINT AS conferences,
        sum(participants)::BIGINT AS participants,
        sum(participant_minutes)::DECIMAL(18,3) AS participant_minutes,
        sum(billable_minutes)::BIGINT AS billable_minutes,
        max(peak_connections) AS peak_connections,
        bool_or(provisional) AS provisional
    FROM daily_usage
    GROUP BY usage_date
)

SELECT
    days.* EXCLUDE (connections),
    avg(before.conferences) AS conferences_before,
    avg(before.participants) AS participants_before,
    avg(before.participant_minutes) AS participant_minutes_before,
    avg(before.billable_minutes) AS billable_minutes_before,
    avg(before.peak_connections) AS peak_connections_before
FROM days
LEFT JOIN days AS before
    ON before.connections > 0
    AND before.usage_date IN (days.usage_date - 7, days.usage_date - 14, days.usage_date - 21, days.usage_date - 28)
GROUP BY ALL
ORDER BY days.usage_date;
