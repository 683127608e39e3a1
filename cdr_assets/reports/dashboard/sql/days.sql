-- The account's figures of each UTC day, all apps together, each with its mean on the same weekday in the four weeks
-- before; a day without a row counts as 0. A conference is one of the day on which it began.
WITH began AS (SELECT usage_date, count(conf_num) AS conferences FROM conference_usage GROUP BY usage_date),

days AS (
    SELECT
        usage_date,
        coalesce(any_value(began.conferences), 0) AS conferences,
        sum(participants)::BIGINT AS participants,
        sum(participant_minutes)::DECIMAL(18,3) AS participant_minutes,
        sum(billable_minutes)::BIGINT AS billable_minutes,
        max(peak_connections) AS peak_connections,
        bool_or(provisional) AS provisional
    FROM daily_usage
    LEFT JOIN began USING (usage_date)
    GROUP BY usage_date
)

SELECT
    days.*,
    sum(before.conferences) / 4 AS conferences_before,
    sum(before.participants) / 4 AS participants_before,
    sum(before.participant_minutes) / 4 AS participant_minutes_before,
    sum(before.billable_minutes) / 4 AS billable_minutes_before,
    sum(before.peak_connections) / 4 AS peak_connections_before
FROM days
LEFT JOIN days AS before
    ON before.usage_date IN (days.usage_date - 7, days.usage_date - 14, days.usage_date - 21, days.usage_date - 28)
GROUP BY ALL
ORDER BY days.usage_date;
