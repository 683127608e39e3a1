-- How late the records came that the day's first answer did not have: from their end to their first landing, in seconds.
SELECT
    count(*) AS late_records,
    round(median(lateness), 3)::DOUBLE AS median_s,
    round(quantile_cont(lateness, 0.95), 3)::DOUBLE AS percentile_95_s
FROM (
    SELECT epoch(first_landed_at) - epoch(coalesce(room_disconnect_dt, trans_date)) AS lateness
    FROM call_detail_records
    WHERE usage_date = $usage_date
      AND first_landed_at > $first_answer_at
);
