-- One row a conference that the day takes part in, over all its days. Sums, the peak and slices are as in room_usage.
INSERT INTO conference_usage BY NAME
WITH conferences AS (
    SELECT
        conference_number,
        first_date,
        any_value(conference_days.conf_num) AS conf_num,
        max(call_detail_records.usage_date) AS last_usage_date,
        min(nullif(room_id, '')) AS room_id,
        min(nullif(conf_name, '')) AS conf_name,
        count(*) AS connections,
        count(DISTINCT coalesce(nullif(user_ref, ''), nullif(user_name, ''), cdr_id)) AS participants,
        coalesce(sum(room_duration_s), 0) AS room_duration_s,
        try_cast(coalesce(sum((greatest(ceil(room_duration_s)::BIGINT, 0) + 59) // 60), 0) AS BIGINT)
            AS billable_minutes,
        try_cast(coalesce(sum(subscribed_minutes), 0) AS DECIMAL(18,3)) AS subscribed_minutes,
        try_cast(coalesce(sum(published_minutes), 0) AS DECIMAL(18,3)) AS published_minutes,
        min(room_connect_dt) AS first_connect_dt,
        max(room_disconnect_dt) AS last_disconnect_dt
    FROM call_detail_records
    JOIN conference_days
        ON conference_days.conf_num IS NOT DISTINCT FROM nullif(call_detail_records.conf_num, '')
        AND conference_days.usage_date = call_detail_records.usage_date
    WHERE call_detail_records.usage_date BETWEEN $first_date AND $last_date
      AND conference_number % $slices = $slice
    GROUP BY conference_number, first_date
)

SELECT
    first_date AS usage_date,
    conferences.* EXCLUDE (conference_number, first_date, room_duration_s),
    try_cast(
        try_cast(((room_duration_s * 1000)::HUGEINT + 30) // 60 AS DECIMAL(18,0)) * 0.001 AS DECIMAL(18,3)
    ) AS participant_minutes,
    coalesce(peak_participants, 0) AS peak_participants
FROM conferences
LEFT JOIN conference_peaks USING (conference_number, first_date);
