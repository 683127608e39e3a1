-- Conferences that the day takes part in whose connections or minutes differ from those of their records, over all
-- their days, and records of the day that no conference counts; minutes are rounded to 0.001.
WITH conferences AS (
    SELECT conf_num, usage_date, last_usage_date, connections, participant_minutes, subscribed_minutes, published_minutes
    FROM conference_usage
    WHERE usage_date <= $usage_date
      AND last_usage_date >= $usage_date
),

days AS (
    SELECT min(usage_date) AS first_date, max(last_usage_date) AS last_date FROM conferences
),

records AS (
    SELECT nullif(conf_num, '') AS conf_num, room_duration_s, subscribed_minutes, published_minutes
    FROM call_detail_records
    WHERE usage_date = $usage_date
    UNION ALL
    SELECT conf_num, room_duration_s, records.subscribed_minutes, records.published_minutes
    FROM call_detail_records AS records
    JOIN conferences USING (conf_num)
    WHERE records.usage_date BETWEEN (SELECT first_date FROM days) AND (SELECT last_date FROM days)
      AND records.usage_date BETWEEN conferences.usage_date AND conferences.last_usage_date
      AND records.usage_date <> $usage_date
),

-- What usage says and what the records say, side by side: of one of them where the other has nothing.
side_by_side AS (
    SELECT
        conf_num,
        connections AS connections_in_usage,
        participant_minutes,
        subscribed_minutes AS subscribed_in_usage,
        published_minutes AS published_in_usage
    FROM conferences
    UNION ALL BY NAME
    SELECT
        conf_num,
        1 AS connections_in_records,
        room_duration_s,
        subscribed_minutes AS subscribed_in_records,
        published_minutes AS published_in_records
    FROM records
)

SELECT
    conf_num,
    sum(connections_in_records) AS connections_in_records,
    sum(connections_in_usage) AS connections_in_usage,
    coalesce(sum(room_duration_s), 0) / 60 AS minutes_in_records,
    sum(participant_minutes)::DOUBLE AS minutes_in_usage
FROM side_by_side
GROUP BY conf_num
HAVING sum(connections_in_usage) IS DISTINCT FROM sum(connections_in_records)
    OR (abs(sum(participant_minutes) - coalesce(sum(room_duration_s), 0) / 60) <= 0.001) IS NOT TRUE
    OR sum(subscribed_in_usage) IS DISTINCT FROM coalesce(sum(subscribed_in_records), 0)
    OR sum(published_in_usage) IS DISTINCT FROM coalesce(sum(published_in_records), 0);
