-- Acknowledges the open findings of a check in a range of days.
UPDATE check_findings
SET acknowledged_at = $acknowledged_at, note = $note
WHERE check_name = $check_name
  AND usage_date BETWEEN $first_date AND $last_date
  AND acknowledged_at IS NULL;
