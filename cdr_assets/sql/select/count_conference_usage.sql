-- Rows of the partition.
SELECT count(*) AS row_count FROM conference_usage WHERE usage_date = $usage_date;
