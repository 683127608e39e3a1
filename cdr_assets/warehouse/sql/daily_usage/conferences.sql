-- The conferences that somebody was in on the UTC day.
CREATE OR REPLACE TEMP TABLE conferences AS
SELECT row_number() OVER () AS conference_number, app_id, conf_num, conference
FROM day_stays
WHERE conf_num IS NOT NULL
GROUP BY app_id, conf_num, conference;
