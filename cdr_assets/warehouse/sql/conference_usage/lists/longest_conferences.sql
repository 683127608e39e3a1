-- The ten conferences of each day that lasted longest. Their names are not told: they can be those of people.
SELECT usage_date, conf_num, conference_minutes, met_minutes, participants
FROM conference_usage
WHERE usage_date BETWEEN $first_date AND $last_date
  AND conf_num IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY usage_date ORDER BY conference_minutes DESC NULLS LAST, conf_num, app_id) <= 10
ORDER BY usage_date, conference_minutes DESC NULLS LAST, conf_num, app_id;
