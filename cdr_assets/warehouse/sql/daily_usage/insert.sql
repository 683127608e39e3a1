-- One row per summed day and app that has a record on the day, or a connection that overlaps it. Counts and minutes are of the
-- day's own records; times alone, returns and the peak are what lies within the day, of every connection that overlaps
-- it.
INSERT INTO daily_usage BY NAME
WITH own AS (
    SELECT
        usage_date,
        nullif(app_id, '') AS app_id,
        count(*) AS connections,
        count(DISTINCT nullif(conf_num, '')) AS conferences,
        count(DISTINCT nullif(room_id, '')) AS rooms,
        count(DISTINCT person_of_day(user_ref, user_name, cdr_id, conf_num)) AS participants,
        minutes(coalesce(sum(room_duration_s), 0)) AS participant_minutes,
        sum_of_whole_minutes(sum(minutes_begun(room_duration_s))) AS billable_minutes,
        sum_of_minutes(sum(subscribed_minutes)) AS subscribed_minutes,
        sum_of_minutes(sum(published_minutes)) AS published_minutes,
        count_if(room_duration_s < 10) AS short_connections,
        quantile_disc(lateness_us(first_landed_at, room_disconnect_dt), [0.5, 0.95]) AS lateness_us
    FROM call_detail_records
    JOIN summed_days USING (usage_date)
    WHERE usage_date BETWEEN $first_date AND $last_date
    GROUP BY usage_date, nullif(app_id, '')
),

together AS (
    SELECT usage_date, app_id, sum(alone_us) AS alone_us, sum(rejoins)::BIGINT AS rejoins
    FROM conference_presences
    JOIN conferences USING (conference_number)
    GROUP BY usage_date, app_id
),

apps AS (
    SELECT usage_date, app_id FROM own
    UNION
    SELECT usage_date, app_id FROM peaks
)

SELECT
    apps.usage_date,
    apps.app_id,
    coalesce(connections, 0) AS connections,
    coalesce(conferences, 0) AS conferences,
    coalesce(rooms, 0) AS rooms,
    coalesce(participants, 0) AS participants,
    coalesce(participant_minutes, 0) AS participant_minutes,
    coalesce(billable_minutes, 0) AS billable_minutes,
    coalesce(subscribed_minutes, 0) AS subscribed_minutes,
    coalesce(published_minutes, 0) AS published_minutes,
    coalesce(peak_connections, 0) AS peak_connections,
    peak_at,
    minutes_of_us(coalesce(alone_us, 0)) AS alone_minutes,
    coalesce(rejoins, 0) AS rejoins,
    coalesce(short_connections, 0) AS short_connections,
    seconds_of_us(lateness_us[1]) AS median_lateness_s,
    seconds_of_us(lateness_us[2]) AS p95_lateness_s,
    provisional
FROM apps
JOIN summed_days USING (usage_date)
LEFT JOIN own ON own.usage_date = apps.usage_date AND own.app_id IS NOT DISTINCT FROM apps.app_id
LEFT JOIN peaks ON peaks.usage_date = apps.usage_date AND peaks.app_id IS NOT DISTINCT FROM apps.app_id
LEFT JOIN together ON together.usage_date = apps.usage_date AND together.app_id IS NOT DISTINCT FROM apps.app_id;
