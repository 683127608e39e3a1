-- The conferences that have a record on the days from $first_date to $last_date, now or when a table of conferences was last
-- built, each with the days over which its rows must be replaced. Records without conf_num are gathered day by day. Reads
-- only rows within 7 days of the days, so its cost does not grow with history.
CREATE OR REPLACE TEMP TABLE touched_conferences AS
WITH known AS (
    SELECT DISTINCT app_id, conf_num, usage_date, last_usage_date
    FROM (
        SELECT app_id, conf_num, usage_date, last_usage_date FROM conference_usage
        UNION ALL
        SELECT app_id, conf_num, usage_date, last_usage_date FROM attendance
    )
    WHERE usage_date <= $last_date + 7
      AND last_usage_date >= $first_date - 7
),

touched AS (
    SELECT app_id, conf_num, min(usage_date) AS first_date, max(last_usage_date) AS last_date
    FROM (
        SELECT nullif(app_id, '') AS app_id, nullif(conf_num, '') AS conf_num, usage_date, usage_date AS last_usage_date
        FROM call_detail_records
        WHERE usage_date BETWEEN $first_date AND $last_date
        UNION ALL
        SELECT app_id, conf_num, usage_date, last_usage_date
        FROM known
        WHERE usage_date <= $last_date
          AND last_usage_date >= $first_date
    )
    GROUP BY app_id, conf_num, CASE WHEN conf_num IS NULL THEN usage_date END
)

SELECT
    row_number() OVER () AS touched_number,
    touched.app_id,
    touched.conf_num,
    least(touched.first_date, min(known.usage_date)) AS first_date,
    greatest(touched.last_date, max(known.last_usage_date)) AS last_date
FROM touched
LEFT JOIN known
    ON known.conf_num = touched.conf_num
    AND known.app_id IS NOT DISTINCT FROM touched.app_id
GROUP BY touched.app_id, touched.conf_num, touched.first_date, touched.last_date;
