-- The conferences that have a record on the day, now or when the table was last built, each with the days over which
-- its rows must be replaced. Reads only rows within 7 days of the day, so its cost does not grow with history.
CREATE OR REPLACE TEMP TABLE touched_conferences AS
WITH touched AS (
    SELECT nullif(app_id, '') AS app_id, nullif(conf_num, '') AS conf_num
    FROM call_detail_records
    WHERE usage_date = $usage_date
    UNION
    SELECT app_id, conf_num
    FROM conference_usage
    WHERE usage_date <= $usage_date
      AND last_usage_date >= $usage_date
)

SELECT
    row_number() OVER () AS conference_number,
    touched.app_id,
    touched.conf_num,
    least($usage_date, min(known.usage_date)) AS first_date,
    greatest($usage_date, max(known.last_usage_date)) AS last_date
FROM touched
LEFT JOIN conference_usage AS known
    ON known.conf_num = touched.conf_num
    AND known.app_id IS NOT DISTINCT FROM touched.app_id
    AND known.usage_date <= $usage_date + 7
    AND known.last_usage_date >= $usage_date - 7
GROUP BY touched.app_id, touched.conf_num;
