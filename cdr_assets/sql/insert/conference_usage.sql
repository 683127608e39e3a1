-- One row a conference that the day takes part in, over all its days. Records of one conf_num that lie more than 7 days
-- apart are two conferences; records without one are gathered day by day. Sums and the peak are as in room_usage.
INSERT INTO conference_usage BY NAME
WITH records AS (
    SELECT
        call_detail_records.*,
        conference_number,
        touched.conf_num IS NULL AS is_nameless,
        coalesce(nullif(user_ref, ''), nullif(user_name, ''), cdr_id) AS participant,
        (room_duration_s::DECIMAL(24,3) * 1000)::HUGEINT AS room_duration_ms
    FROM call_detail_records
    JOIN touched_conferences AS touched
        ON nullif(call_detail_records.conf_num, '') IS NOT DISTINCT FROM touched.conf_num
        AND call_detail_records.usage_date BETWEEN touched.first_date AND touched.last_date
    WHERE call_detail_records.usage_date BETWEEN $first_date AND $last_date
),

conference_days AS (
    SELECT conference_number, is_nameless, usage_date, usage_date - lag(usage_date) OVER (
        PARTITION BY conference_number ORDER BY usage_date
    ) AS gap
    FROM (SELECT DISTINCT conference_number, is_nameless, usage_date FROM records)
),

conference_starts AS (
    SELECT conference_number, usage_date, max(
        CASE WHEN gap IS NULL OR gap > 7 OR is_nameless THEN usage_date END
    ) OVER (PARTITION BY conference_number ORDER BY usage_date) AS first_date
    FROM conference_days
),

connections AS (
    SELECT records.*, conference_starts.first_date
    FROM records
    JOIN conference_starts USING (conference_number, usage_date)
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
            PARTITION BY conference_number, first_date ORDER BY moment, step ROWS UNBOUNDED PRECEDING
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
        try_cast(
            try_cast((coalesce(sum(room_duration_ms), 0) + 30) // 60 AS DECIMAL(18,0)) * 0.001 AS DECIMAL(18,3)
        ) AS participant_minutes,
        try_cast(coalesce(sum((greatest(room_duration_ms, 0) + 59999) // 60000), 0) AS BIGINT) AS billable_minutes,
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
    conferences.* EXCLUDE (conference_number, first_date),
    coalesce(peaks.peak_participants, 0) AS peak_participants
FROM conferences
JOIN touched_conferences USING (conference_number)
LEFT JOIN peaks
    ON peaks.conference_number = conferences.conference_number
    AND peaks.first_date = conferences.first_date;
