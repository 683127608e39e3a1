-- Each day of each touched conference, with the day of the conference's first record. Records of one conf_num that lie
-- more than 7 days apart are two conferences; records without one are gathered day by day.
CREATE OR REPLACE TEMP TABLE conference_days AS
WITH long_conference_days AS (
    SELECT touched_number, usage_date, max(
        CASE WHEN gap IS NULL OR gap > 7 THEN usage_date END
    ) OVER (PARTITION BY touched_number ORDER BY usage_date) AS first_date
    FROM (
        SELECT touched_number, usage_date, usage_date - lag(usage_date) OVER (
            PARTITION BY touched_number ORDER BY usage_date
        ) AS gap
        FROM (
            SELECT DISTINCT touched_number, usage_date
            FROM call_detail_records AS records
            JOIN touched_conferences AS touched
                ON touched.conf_num = records.conf_num
                AND touched.app_id IS NOT DISTINCT FROM nullif(records.app_id, '')
                AND usage_date BETWEEN touched.first_date AND touched.last_date
            WHERE usage_date BETWEEN $first_date AND $last_date
              AND touched.first_date < touched.last_date
        )
    )
),

-- The conferences of one conf_num get different numbers.
long_conferences AS (
    SELECT
        touched_number,
        first_date,
        (SELECT count(*) FROM touched_conferences) + row_number() OVER () AS conference_number
    FROM (SELECT DISTINCT touched_number, first_date FROM long_conference_days)
)

SELECT touched_number AS conference_number, app_id, conf_num, first_date AS usage_date, first_date
FROM touched_conferences
WHERE first_date = last_date
UNION ALL
SELECT conference_number, app_id, conf_num, usage_date, first_date
FROM long_conference_days
JOIN long_conferences USING (touched_number, first_date)
JOIN touched_conferences USING (touched_number);
