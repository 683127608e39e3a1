-- The conferences that the day takes part in, now or when the table was last built, each with the days over which
-- its rows must be made anew. Reads only rows within 7 days of the day, so that its cost does not grow with history.
CREATE OR REPLACE TEMP TABLE touched_conferences AS
WITH touched AS (
    SELECT nullif(conf_num, '') AS conf_num
    FROM call_detail_records
    WHERE usage_date = $usage_date
    UNION
    SELECT conf_num
    FROM conference_usage
    WHERE usage_date <= $usage_date
      AND last_usage_date >= $usage_date
)

SELECT
    row_number() OVER () AS conference_number,
    touched.conf_num,
    least($usage_date, min(known.usage_date)) AS first_date,
    greatest($usage_date, max(known.last_usage_date)) AS last_date
FROM touched
LEFT JOIN conference_usage AS known
    ON known.conf_num = touched.conf_num
    AND known.usage_date <= $usage_date + 7
    AND known.last_usage_date >= $usage_date - 7
GROUP BY touched.conf_num;
