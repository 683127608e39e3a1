-- A record whose newest version has another trans_date stays under the day of that version alone.
DELETE FROM call_detail_records
USING changed_rows AS changed
WHERE call_detail_records.cdr_id = changed.cdr_id
  AND call_detail_records.usage_date = changed.usage_date
  AND call_detail_records.usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
  AND changed.is_moved;
