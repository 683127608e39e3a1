-- Notes in each compared record what is known of its versions. Returns the day of each row that was different.
UPDATE call_detail_records
SET
    first_landed_at = newest.first_landed_at,
    landed_at = newest.landed_at,
    versions = newest.versions
FROM newest_versions AS newest
WHERE call_detail_records.cdr_id = newest.cdr_id
  AND call_detail_records.usage_date = newest.usage_date
  AND call_detail_records.usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
  AND (call_detail_records.first_landed_at, call_detail_records.landed_at, call_detail_records.versions)
      IS DISTINCT FROM (newest.first_landed_at, newest.landed_at, newest.versions)
RETURNING call_detail_records.usage_date;
