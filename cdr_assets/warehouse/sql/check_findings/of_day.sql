-- The open and the acknowledged findings on a day.
SELECT asset, check_name, count, sample::VARCHAR AS sample, found_at, acknowledged_at, note
FROM check_findings
WHERE usage_date = $usage_date;
