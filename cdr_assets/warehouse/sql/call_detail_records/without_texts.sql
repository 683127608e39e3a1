-- Counts the records of the day with several versions whose texts the last load did not read: it may have typed newer
-- files only, or another day.
SELECT count(*) AS records
FROM call_detail_records
WHERE usage_date = $usage_date
  AND versions > 1
  AND cdr_id NOT IN (
      SELECT cdr_id
      FROM landed_versions
      WHERE built_for = $usage_date
        AND record IS NOT NULL
  );
