-- Slices in which the rooms of a day are summed, of some 200,000 each, so that they fit in the memory.
SELECT 1 + approx_count_distinct(room_id) // 200_000 AS slices FROM call_detail_records WHERE usage_date = $usage_date;
