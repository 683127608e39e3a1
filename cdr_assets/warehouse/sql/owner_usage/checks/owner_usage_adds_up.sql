-- Apps whose connections or minutes over all owners are not those of the day's records. Minutes of owners are rounded
-- each, so their sum may differ by half a thousandth for each.
WITH records AS (
    SELECT
        usage_date,
        nullif(app_id, '') AS app_id,
        count(*) AS connections,
        coalesce(sum(room_duration_s), 0) / 60 AS participant_minutes,
        coalesce(sum(minutes_begun(room_duration_s)), 0) AS billable_minutes,
        coalesce(sum(subscribed_minutes), 0) AS subscribed_minutes,
        coalesce(sum(published_minutes), 0) AS published_minutes
    FROM call_detail_records
    WHERE usage_date BETWEEN $first_date AND $last_date
    GROUP BY ALL
),

owners AS (
    SELECT
        usage_date,
        app_id,
        count(*) AS owners,
        sum(connections) AS connections,
        sum(participant_minutes) AS participant_minutes,
        sum(billable_minutes) AS billable_minutes,
        sum(subscribed_minutes) AS subscribed_minutes,
        sum(published_minutes) AS published_minutes
    FROM owner_usage
    WHERE usage_date BETWEEN $first_date AND $last_date
    GROUP BY ALL
)

SELECT
    coalesce(records.usage_date, owners.usage_date) AS usage_date,
    coalesce(records.app_id, owners.app_id) AS app_id,
    records.connections AS connections_in_records,
    owners.connections AS connections_in_usage,
    records.participant_minutes::DOUBLE AS minutes_in_records,
    owners.participant_minutes::DOUBLE AS minutes_in_usage
FROM records
FULL JOIN owners
    ON owners.usage_date = records.usage_date
    AND owners.app_id IS NOT DISTINCT FROM records.app_id
WHERE owners.connections IS DISTINCT FROM records.connections
   OR coalesce(abs(owners.participant_minutes - records.participant_minutes) > 0.0005 * owners + 0.0000001, true)
   OR owners.billable_minutes IS DISTINCT FROM records.billable_minutes
   OR owners.subscribed_minutes IS DISTINCT FROM records.subscribed_minutes
   OR owners.published_minutes IS DISTINCT FROM records.published_minutes;
