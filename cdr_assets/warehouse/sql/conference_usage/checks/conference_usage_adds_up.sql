-- Conferences whose connections or minutes differ from those of their records over all their days, or whose minutes
-- overflowed, and records that no conference counts. A conference is found on each of its days that is looked at.
WITH conferences AS (
    SELECT
        app_id, conf_num, usage_date, last_usage_date, connections, participant_minutes, subscribed_minutes,
        published_minutes
    FROM conference_usage
    WHERE usage_date <= $last_date
      AND last_usage_date >= $first_date
),

-- Most conferences have one day, and their records need not be looked up.
long_conferences AS (
    SELECT app_id, conf_num, usage_date, last_usage_date FROM conferences WHERE usage_date < last_usage_date
),

reach AS (
    SELECT min(usage_date) AS first_date, max(last_usage_date) AS last_date FROM long_conferences
),

-- Each record with the first day of its conference; its own day if it has none.
records AS (
    SELECT
        nullif(records.app_id, '') AS app_id,
        nullif(records.conf_num, '') AS conf_num,
        coalesce(long.usage_date, records.usage_date) AS first_date,
        room_duration_s,
        subscribed_minutes,
        published_minutes
    FROM call_detail_records AS records
    LEFT JOIN long_conferences AS long
        ON long.conf_num = records.conf_num
        AND long.app_id IS NOT DISTINCT FROM nullif(records.app_id, '')
        AND records.usage_date BETWEEN long.usage_date AND long.last_usage_date
    WHERE records.usage_date BETWEEN $first_date AND $last_date
    UNION ALL
    SELECT long.app_id, long.conf_num, long.usage_date, room_duration_s, subscribed_minutes, published_minutes
    FROM call_detail_records AS records
    JOIN long_conferences AS long
        ON long.conf_num = records.conf_num
        AND long.app_id IS NOT DISTINCT FROM nullif(records.app_id, '')
        AND records.usage_date BETWEEN long.usage_date AND long.last_usage_date
    WHERE records.usage_date BETWEEN (SELECT first_date FROM reach) AND (SELECT last_date FROM reach)
      AND records.usage_date NOT BETWEEN $first_date AND $last_date
),

-- Both sides in one list: the columns of one side are NULL in the rows of the other.
both_sides AS (
    SELECT
        app_id,
        conf_num,
        usage_date AS first_date,
        last_usage_date,
        connections AS connections_in_usage,
        participant_minutes,
        subscribed_minutes AS subscribed_in_usage,
        published_minutes AS published_in_usage
    FROM conferences
    UNION ALL BY NAME
    SELECT
        app_id,
        conf_num,
        first_date,
        1 AS connections_in_records,
        room_duration_s,
        subscribed_minutes AS subscribed_in_records,
        published_minutes AS published_in_records
    FROM records
),

found AS (
    SELECT
        first_date,
        greatest(max(last_usage_date), first_date) AS last_date,
        app_id,
        conf_num,
        sum(connections_in_records) AS connections_in_records,
        sum(connections_in_usage) AS connections_in_usage,
        coalesce(sum(room_duration_s), 0) / 60 AS minutes_in_records,
        sum(participant_minutes)::DOUBLE AS minutes_in_usage
    FROM both_sides
    GROUP BY first_date, app_id, conf_num
    HAVING sum(connections_in_usage) IS DISTINCT FROM sum(connections_in_records)
        OR sum(participant_minutes) IS NULL
        OR sum(participant_minutes) IS DISTINCT FROM minutes(coalesce(sum(room_duration_s), 0))
        OR sum(subscribed_in_usage) IS DISTINCT FROM coalesce(sum(subscribed_in_records), 0)
        OR sum(published_in_usage) IS DISTINCT FROM coalesce(sum(published_in_records), 0)
)

SELECT days.day::DATE AS usage_date, found.* EXCLUDE (first_date, last_date)
FROM found, unnest(generate_series(
    greatest(first_date, $first_date::DATE), least(last_date, $last_date::DATE), INTERVAL 1 DAY
)) AS days(day);
