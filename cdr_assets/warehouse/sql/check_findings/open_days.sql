-- The days of a range on which a check has an open finding.
SELECT DISTINCT usage_date
FROM check_findings
WHERE check_name = $check_name
  AND usage_date BETWEEN $first_date AND $last_date
  AND acknowledged_at IS NULL
ORDER BY usage_date;
