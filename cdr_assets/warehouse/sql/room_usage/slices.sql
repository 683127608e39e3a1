-- The number of slices in which the rooms of some days are summed, of about 200,000 rooms each, so that they fit in memory.
SELECT 1 + approx_count_distinct(room_id) // 200_000 AS slices
FROM call_detail_records
WHERE usage_date BETWEEN $first_date AND $last_date;
