-- Other days, within 7 of the day, that hold a record of the day too.
SELECT DISTINCT usage_date
FROM call_detail_records
WHERE usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
  AND usage_date <> $usage_date
  AND cdr_id IN (SELECT cdr_id FROM call_detail_records WHERE usage_date = $usage_date);
