-- Removes the finding of a check on a day.
DELETE FROM check_findings
WHERE usage_date = $usage_date
  AND asset = $asset
  AND check_name = $check_name;
