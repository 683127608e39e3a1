-- One row a conference that the day takes part in, over all its days. Records of one conf_num that lie more than 7 days
-- apart are two conferences; records without one are gathered day by day. Sums and the peak are as in room_usage.
INSERT INTO conference_usage BY NAME
WITH long_conference_days AS (
    SELECT conference_number, usage_date, max(
        CASE WHEN gap IS NULL OR gap > 7 THEN usage_date END
    ) OVER (PARTITION BY conference_number ORDER BY usage_date) AS first_date
    FROM (
        SELECT conference_number, usage_date, usage_date - lag(usage_date) OVER (
            PARTITION BY conference_number ORDER BY usage_date
        ) AS gap
        FROM (
            SELECT DISTINCT conference_number, usage_date
            FROM call_detail_records
            JOIN touched_conferences AS touched
                ON touched.conf_num = call_detail_records.conf_num
                AND usage_date BETWEEN touched.first_date AND touched.last_date
            WHERE usage_date BETWEEN $first_date AND $last_date
              AND touched.first_date < touched.last_date
        )
    )
),

conference_days AS (
    SELECT conference_number, conf_num, first_date AS usage_date, first_date
    FROM touched_conferences
    WHERE first_date = last_date
    UNION ALL
    SELECT conference_number, conf_num, usage_date, long.first_date
    FROM long_conference_days AS long
    JOIN touched_conferences USING (conference_number)
),

connections AS (
    SELECT
        call_detail_records.* EXCLUDE (conf_num),
        conference_number,
        first_date,
        conference_days.conf_num,
        coalesce(nullif(user_ref, ''), nullif(user_name, ''), cdr_id) AS participant,
        greatest(ceil(room_duration_s)::BIGINT, 0) AS seconds_begun
    FROM call_detail_records
    JOIN conference_days
        ON conference_days.conf_num IS NOT DISTINCT FROM nullif(call_detail_records.conf_num, '')
        AND conference_days.usage_date = call_detail_records.usage_date
    WHERE call_detail_records.usage_date BETWEEN $first_date AND $last_date
),

stays AS (
    SELECT conference_number, first_date, room_connect_dt, room_disconnect_dt
    FROM connections
    WHERE room_connect_dt < room_disconnect_dt
),

peaks AS (
    SELECT conference_number, first_date, max(open_connections) AS peak_participants
    FROM (
        SELECT conference_number, first_date, sum(step) OVER (
            ORDER BY conference_number, first_date, moment, step ROWS UNBOUNDED PRECEDING
        ) AS open_connections
        FROM (
            SELECT conference_number, first_date, room_connect_dt AS moment, 1 AS step FROM stays
            UNION ALL
            SELECT conference_number, first_date, room_disconnect_dt, -1 FROM stays
        )
    )
    GROUP BY conference_number, first_date
),

conferences AS (
    SELECT
        conference_number,
        first_date,
        max(usage_date) AS last_usage_date,
        min(nullif(room_id, '')) AS room_id,
        min(nullif(conf_name, '')) AS conf_name,
        count(*) AS connections,
        count(DISTINCT participant) AS participants,
        coalesce(sum(room_duration_s), 0) AS room_duration_s,
        try_cast(coalesce(sum((seconds_begun + 59) // 60), 0) AS BIGINT) AS billable_minutes,
        try_cast(coalesce(sum(subscribed_minutes), 0) AS DECIMAL(18,3)) AS subscribed_minutes,
        try_cast(coalesce(sum(published_minutes), 0) AS DECIMAL(18,3)) AS published_minutes,
        min(room_connect_dt) AS first_connect_dt,
        max(room_disconnect_dt) AS last_disconnect_dt
    FROM connections
    GROUP BY conference_number, first_date
)

SELECT
    conferences.first_date AS usage_date,
    touched_conferences.conf_num,
    conferences.* EXCLUDE (conference_number, first_date, room_duration_s),
    try_cast(
        try_cast(((room_duration_s * 1000)::HUGEINT + 30) // 60 AS DECIMAL(18,0)) * 0.001 AS DECIMAL(18,3)
    ) AS participant_minutes,
    coalesce(peaks.peak_participants, 0) AS peak_participants
FROM conferences
JOIN touched_conferences USING (conference_number)
LEFT JOIN peaks
    ON peaks.conference_number = conferences.conference_number
    AND peaks.first_date = conferences.first_date;
