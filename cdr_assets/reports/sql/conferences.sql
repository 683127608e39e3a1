-- The conferences of a number, oldest first, each with whether its figures may still change.
SELECT
    *,
    coalesce(
        (
            SELECT bool_or(provisional)
            FROM daily_usage
            WHERE daily_usage.usage_date BETWEEN conferences.usage_date AND conferences.last_usage_date
        ),
        true
    ) AS provisional
FROM conference_usage AS conferences
WHERE conf_num = $conf_num
ORDER BY usage_date, app_id;
