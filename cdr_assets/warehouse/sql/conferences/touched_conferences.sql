-- The conferences that have a record on the day, now or when a table of conferences was last built, each with the days
-- over which its rows must be replaced. Reads only rows within 7 days of the day, so its cost does not grow with history.
CREATE OR REPLACE TEMP TABLE touched_conferences AS
WITH known AS (
    SELECT DISTINCT app_id, conf_num, usage_date, last_usage_date
    FROM (
        SELECT app_id, conf_num, usage_date, last_usage_date FROM conference_usage
        UNION ALL
        SELECT app_id, conf_num, usage_date, last_usage_date FROM attendance
    )
    WHERE usage_date <= $usage_date + 7
      AND last_usage_date >= $usage_date - 7
),

touched AS (
    SELECT nullif(app_id, '') AS app_id, nullif(conf_num, '') AS conf_num
    FROM call_detail_records
    WHERE usage_date = $usage_date
    UNION
    SELECT app_id, conf_num
    FROM known
    WHERE $usage_date BETWEEN usage_date AND last_usage_date
)

SELECT
    row_number() OVER () AS touched_number,
    touched.app_id,
    touched.conf_num,
    least($usage_date, min(known.usage_date)) AS first_date,
    greatest($usage_date, max(known.last_usage_date)) AS last_date
FROM touched
LEFT JOIN known
    ON known.conf_num = touched.conf_num
    AND known.app_id IS NOT DISTINCT FROM touched.app_id
GROUP BY touched.app_id, touched.conf_num;
