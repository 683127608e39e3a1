-- A record whose newest version has another trans_date stays under the day of that version alone. Returns the day of
-- each row that was deleted.
DELETE FROM call_detail_records
USING newest_versions AS newest
WHERE call_detail_records.cdr_id = newest.cdr_id
  AND call_detail_records.usage_date <> newest.usage_date
  AND call_detail_records.usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
RETURNING call_detail_records.usage_date;
