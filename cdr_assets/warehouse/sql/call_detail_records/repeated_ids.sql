-- Ids of the loaded records that landed more than once on the day, now or before.
CREATE OR REPLACE TEMP TABLE repeated_ids AS
SELECT cdr_id FROM loaded_records GROUP BY cdr_id HAVING count(*) > 1
UNION
SELECT cdr_id
FROM call_detail_records
WHERE usage_date = $usage_date
  AND cdr_id IN (SELECT cdr_id FROM loaded_records);
