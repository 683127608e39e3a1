-- The changed rows that stay under their day, with what is known of their versions.
CREATE OR REPLACE TEMP TABLE renewed_rows AS
SELECT
    records.* REPLACE (
        newest.first_landed_at AS first_landed_at,
        newest.landed_at AS landed_at,
        newest.versions AS versions
    )
FROM call_detail_records AS records
JOIN newest_versions AS newest USING (cdr_id)
JOIN changed_rows AS changed ON changed.cdr_id = records.cdr_id AND changed.usage_date = records.usage_date
WHERE records.usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
  AND NOT changed.is_moved;
