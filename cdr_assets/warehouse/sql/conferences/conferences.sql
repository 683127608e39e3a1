-- The conferences of the slice that have records, each with its first and last day.
CREATE OR REPLACE TEMP TABLE conferences AS
SELECT
    conference_number,
    any_value(app_id) AS app_id,
    any_value(conf_num) AS conf_num,
    any_value(first_date) AS first_date,
    max(usage_date) AS last_date
FROM conference_days
WHERE conference_number BETWEEN $first_number AND $last_number
GROUP BY conference_number;
