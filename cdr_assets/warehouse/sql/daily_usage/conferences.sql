-- The conferences that somebody was in on the summed days, once for each day.
CREATE OR REPLACE TEMP TABLE conferences AS
SELECT row_number() OVER () AS conference_number, usage_date, app_id, conf_num, conference
FROM day_stays
WHERE conf_num IS NOT NULL
GROUP BY usage_date, app_id, conf_num, conference;
