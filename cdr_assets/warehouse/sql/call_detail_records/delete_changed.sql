-- The rows in whose place the renewed ones come, and those of records whose newest version has another trans_date.
DELETE FROM call_detail_records
USING changed_rows AS changed
WHERE call_detail_records.cdr_id = changed.cdr_id
  AND call_detail_records.usage_date = changed.usage_date
  AND call_detail_records.usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7;
