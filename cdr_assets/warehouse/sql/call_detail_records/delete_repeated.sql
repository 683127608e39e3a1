-- Removes the day's rows of records of which newer lines are loaded.
DELETE FROM call_detail_records
WHERE usage_date = $usage_date
  AND cdr_id IN (FROM repeated_ids);
