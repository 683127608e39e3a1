-- Where records lie now that no longer landed on the day at all, but of which an older version did: they have fewer
-- versions than their rows say.
SELECT DISTINCT records.usage_date
FROM moved_records AS moved
JOIN call_detail_records AS records
    ON records.cdr_id = moved.cdr_id
    AND records.usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
    AND records.usage_date <> $usage_date
WHERE moved.usage_date = $usage_date
  AND moved.cdr_id NOT IN (FROM compared_ids)
ORDER BY records.usage_date;
