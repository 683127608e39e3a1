-- Days whose connections or minutes are not those of their records.
WITH records AS (
    SELECT
        usage_date,
        nullif(app_id, '') AS app_id,
        count(*) AS connections,
        coalesce(sum(room_duration_s), 0) AS room_duration_s,
        coalesce(sum(minutes_begun(room_duration_s)), 0) AS billable_minutes,
        coalesce(sum(subscribed_minutes), 0) AS subscribed_minutes,
        coalesce(sum(published_minutes), 0) AS published_minutes
    FROM call_detail_records
    WHERE usage_date BETWEEN $first_date AND $last_date
    GROUP BY ALL
)

SELECT
    coalesce(records.usage_date, days.usage_date) AS usage_date,
    coalesce(records.app_id, days.app_id) AS app_id,
    records.connections AS connections_in_records,
    days.connections AS connections_in_usage,
    records.room_duration_s / 60 AS minutes_in_records,
    days.participant_minutes::DOUBLE AS minutes_in_usage
FROM records
FULL JOIN (FROM daily_usage WHERE usage_date BETWEEN $first_date AND $last_date) AS days
    ON days.usage_date = records.usage_date
    AND days.app_id IS NOT DISTINCT FROM records.app_id
-- A day may have connections of the records of other days alone.
WHERE days.connections IS DISTINCT FROM coalesce(records.connections, 0)
   OR days.participant_minutes IS DISTINCT FROM minutes(coalesce(records.room_duration_s, 0))
   OR days.billable_minutes IS DISTINCT FROM coalesce(records.billable_minutes, 0)
   OR days.subscribed_minutes IS DISTINCT FROM coalesce(records.subscribed_minutes, 0)
   OR days.published_minutes IS DISTINCT FROM coalesce(records.published_minutes, 0);
