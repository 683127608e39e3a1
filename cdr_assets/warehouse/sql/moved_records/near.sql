-- The records that moved, on the day and those near it.
SELECT usage_date, cdr_id, request
FROM moved_records
WHERE usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
ORDER BY usage_date, cdr_id;
