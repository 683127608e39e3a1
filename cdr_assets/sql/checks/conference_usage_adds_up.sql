-- Conferences that the day takes part in whose connections or minutes differ from those of their records, over all
-- their days, and records of the day that no conference counts; minutes are rounded to 0.001.
WITH conferences AS (
    SELECT *
    FROM conference_usage
    WHERE usage_date <= $usage_date
      AND last_usage_date >= $usage_date
),

days AS (
    SELECT
        least($usage_date, min(usage_date)) AS first_date,
        greatest($usage_date, max(last_usage_date)) AS last_date
    FROM conferences
),

records_of_days AS (
    SELECT
        nullif(conf_num, '') AS conf_num,
        usage_date,
        count(*) AS connections,
        sum(room_duration_s) AS room_duration_s,
        sum(subscribed_minutes) AS subscribed_minutes,
        sum(published_minutes) AS published_minutes
    FROM call_detail_records
    WHERE usage_date BETWEEN (SELECT first_date FROM days) AND (SELECT last_date FROM days)
    GROUP BY ALL
),

records AS (
    SELECT
        records_of_days.conf_num,
        sum(records_of_days.connections) AS connections,
        coalesce(sum(room_duration_s), 0) / 60 AS participant_minutes,
        coalesce(sum(records_of_days.subscribed_minutes), 0) AS subscribed_minutes,
        coalesce(sum(records_of_days.published_minutes), 0) AS published_minutes
    FROM records_of_days
    LEFT JOIN conferences
        ON conferences.conf_num IS NOT DISTINCT FROM records_of_days.conf_num
        AND records_of_days.usage_date BETWEEN conferences.usage_date AND conferences.last_usage_date
    WHERE conferences.usage_date IS NOT NULL
       OR records_of_days.usage_date = $usage_date
    GROUP BY records_of_days.conf_num
)

SELECT
    coalesce(records.conf_num, conferences.conf_num) AS conf_num,
    records.connections AS connections_in_records,
    conferences.connections AS connections_in_usage,
    records.participant_minutes AS minutes_in_records,
    conferences.participant_minutes::DOUBLE AS minutes_in_usage
FROM records
FULL JOIN conferences ON conferences.conf_num IS NOT DISTINCT FROM records.conf_num
WHERE conferences.connections IS DISTINCT FROM records.connections
   OR (abs(conferences.participant_minutes - records.participant_minutes) <= 0.001) IS NOT TRUE
   OR conferences.subscribed_minutes IS DISTINCT FROM records.subscribed_minutes
   OR conferences.published_minutes IS DISTINCT FROM records.published_minutes;
