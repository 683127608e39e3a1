-- One row per conference that has a record on the day, over all its days. Sums, peak and slices are as in room_usage.
INSERT INTO conference_usage BY NAME
WITH conferences AS (
    SELECT
        conference_number,
        first_date,
        any_value(conference_days.app_id) AS app_id,
        any_value(conference_days.conf_num) AS conf_num,
        max(records.usage_date) AS last_usage_date,
        min(nullif(room_id, '')) AS room_id,
        min(nullif(conf_name, '')) AS conf_name,
        count(*) AS connections,
        count(DISTINCT participant(user_ref, user_name, cdr_id)) AS participants,
        coalesce(sum(room_duration_s), 0) AS room_duration_s,
        sum_of_whole_minutes(sum(minutes_begun(room_duration_s))) AS billable_minutes,
        sum_of_minutes(sum(subscribed_minutes)) AS subscribed_minutes,
        sum_of_minutes(sum(published_minutes)) AS published_minutes,
        min(room_connect_dt) AS first_connect_dt,
        max(room_disconnect_dt) AS last_disconnect_dt
    FROM call_detail_records AS records
    JOIN conference_days
        ON conference_days.conf_num IS NOT DISTINCT FROM nullif(records.conf_num, '')
        AND conference_days.app_id IS NOT DISTINCT FROM nullif(records.app_id, '')
        AND conference_days.usage_date = records.usage_date
    WHERE records.usage_date BETWEEN $first_date AND $last_date
      AND conference_number % $slices = $slice
    GROUP BY conference_number, first_date
)

SELECT
    first_date AS usage_date,
    conferences.* EXCLUDE (conference_number, first_date, room_duration_s),
    minutes(room_duration_s) AS participant_minutes,
    coalesce(peak_participants, 0) AS peak_participants
FROM conferences
LEFT JOIN conference_peaks USING (conference_number, first_date);
