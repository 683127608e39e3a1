-- The conferences of a number, oldest first.
SELECT *
FROM conference_usage
WHERE conf_num = $conf_num
ORDER BY usage_date, app_id;
