-- The account's figures of each UTC day, all apps together.
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
ORDER BY usage_date;
