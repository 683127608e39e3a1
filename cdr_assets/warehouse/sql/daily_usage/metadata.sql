-- The figures of each day, over all apps.
SELECT
    usage_date,
    sum(connections)::BIGINT AS connections,
    sum(conferences)::BIGINT AS conferences,
    sum(rooms)::BIGINT AS rooms,
    sum(participants)::BIGINT AS participants,
    sum(participant_minutes)::DOUBLE AS participant_minutes,
    sum(billable_minutes)::BIGINT AS billable_minutes,
    sum(alone_minutes)::DOUBLE AS alone_minutes,
    sum(rejoins)::BIGINT AS rejoins,
    sum(short_connections)::BIGINT AS short_connections,
    max(peak_connections) AS peak_connections,
    max(p95_lateness_s)::DOUBLE AS p95_lateness_s
FROM daily_usage
WHERE usage_date BETWEEN $first_date AND $last_date
GROUP BY usage_date;
