-- The conferences of a number, oldest first, each with whether its figures may still change, and its ids as they are shown.
SELECT
    *,
    CASE WHEN $in_clear THEN conf_num ELSE shown_id($key, conf_num) END AS shown_conf_num,
    CASE WHEN $in_clear THEN room_id ELSE shown_id($key, room_id) END AS shown_room_id,
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
