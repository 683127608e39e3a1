-- The rows of compared records that do not say what the newest version says: they lie under another day, or what they say
-- of the versions is not right.
CREATE OR REPLACE TEMP TABLE changed_rows AS
SELECT records.usage_date, records.cdr_id, records.usage_date <> newest.usage_date AS is_moved
FROM call_detail_records AS records
JOIN newest_versions AS newest USING (cdr_id)
WHERE records.usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
  AND (
      records.usage_date <> newest.usage_date
      OR (records.first_landed_at, records.landed_at, records.versions)
          IS DISTINCT FROM (newest.first_landed_at, newest.landed_at, newest.versions)
  );
