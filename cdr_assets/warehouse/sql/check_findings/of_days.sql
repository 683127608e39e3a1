-- The open and the acknowledged findings on the days of a range.
SELECT usage_date, asset, check_name, count, sample::VARCHAR AS sample, found_at, acknowledged_at, note
FROM check_findings
WHERE usage_date BETWEEN $first_date AND $last_date;
