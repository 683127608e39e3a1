-- The number of slices in which the rooms of a day are summed, of about 200,000 rooms each, so that they fit in memory.
SELECT 1 + approx_count_distinct(room_id) // 200_000 AS slices FROM call_detail_records WHERE usage_date = $usage_date;
