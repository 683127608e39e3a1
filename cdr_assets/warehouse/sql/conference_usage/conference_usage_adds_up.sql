-- Conferences with a record on the day whose connections or minutes differ from those of their records over all their
-- days, or whose minutes overflowed, and records of the day that no conference counts.
WITH conferences AS (
    SELECT
        app_id, conf_num, usage_date, last_usage_date, connections, participant_minutes, subscribed_minutes,
        published_minutes
    FROM conference_usage
    WHERE usage_date <= $usage_date
      AND last_usage_date >= $usage_date
),

days AS (
    SELECT min(usage_date) AS first_date, max(last_usage_date) AS last_date FROM conferences
),

records AS (
    SELECT
        nullif(app_id, '') AS app_id, nullif(conf_num, '') AS conf_num, room_duration_s, subscribed_minutes,
        published_minutes
    FROM call_detail_records
    WHERE usage_date = $usage_date
    UNION ALL
    SELECT
        conferences.app_id, conferences.conf_num, room_duration_s, records.subscribed_minutes, records.published_minutes
    FROM call_detail_records AS records
    JOIN conferences
        ON conferences.conf_num = records.conf_num
        AND conferences.app_id IS NOT DISTINCT FROM nullif(records.app_id, '')
    WHERE records.usage_date BETWEEN (SELECT first_date FROM days) AND (SELECT last_date FROM days)
      AND records.usage_date BETWEEN conferences.usage_date AND conferences.last_usage_date
      AND records.usage_date <> $usage_date
),

-- Both sides in one list: the columns of one side are NULL in the rows of the other.
both_sides AS (
    SELECT
        app_id,
        conf_num,
        connections AS connections_in_usage,
        participant_minutes,
        subscribed_minutes AS subscribed_in_usage,
        published_minutes AS published_in_usage
    FROM conferences
    UNION ALL BY NAME
    SELECT
        app_id,
        conf_num,
        1 AS connections_in_records,
        room_duration_s,
        subscribed_minutes AS subscribed_in_records,
        published_minutes AS published_in_records
    FROM records
)

SELECT
    app_id,
    conf_num,
    sum(connections_in_records) AS connections_in_records,
    sum(connections_in_usage) AS connections_in_usage,
    coalesce(sum(room_duration_s), 0) / 60 AS minutes_in_records,
    sum(participant_minutes)::DOUBLE AS minutes_in_usage
FROM both_sides
GROUP BY app_id, conf_num
HAVING sum(connections_in_usage) IS DISTINCT FROM sum(connections_in_records)
    OR sum(participant_minutes) IS NULL
    OR sum(participant_minutes) IS DISTINCT FROM minutes(coalesce(sum(room_duration_s), 0))
    OR sum(subscribed_in_usage) IS DISTINCT FROM coalesce(sum(subscribed_in_records), 0)
    OR sum(published_in_usage) IS DISTINCT FROM coalesce(sum(published_in_records), 0);
