-- Notes in each compared record what is known of its versions.
UPDATE call_detail_records
SET
    first_landed_at = newest.first_landed_at,
    landed_at = newest.landed_at,
    versions = newest.versions
FROM newest_versions AS newest
JOIN changed_rows AS changed USING (cdr_id)
WHERE call_detail_records.cdr_id = newest.cdr_id
  AND call_detail_records.usage_date = changed.usage_date
  AND call_detail_records.usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
  AND NOT changed.is_moved;
