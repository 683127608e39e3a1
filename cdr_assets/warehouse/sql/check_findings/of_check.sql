-- The open and the acknowledged findings of a check.
SELECT usage_date, count, sample, acknowledged_at, note
FROM check_findings
WHERE asset = $asset
  AND check_name = $check_name
ORDER BY usage_date;
