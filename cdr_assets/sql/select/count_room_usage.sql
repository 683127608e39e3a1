-- Rows of the partition.
SELECT count(*) AS row_count FROM room_usage WHERE usage_date = $usage_date;
