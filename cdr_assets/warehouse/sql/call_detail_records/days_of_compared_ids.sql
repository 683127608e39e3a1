-- Other days, within 7 of the day, on which one of the compared records landed.
SELECT DISTINCT usage_date
FROM (
    SELECT cdr_id, usage_date FROM call_detail_records
    UNION ALL
    SELECT cdr_id, usage_date FROM moved_records
)
WHERE usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
  AND usage_date <> $usage_date
  AND cdr_id IN (FROM compared_ids)
ORDER BY usage_date;
