-- Ids of the day's records that landed on another day within 7 of it as well.
CREATE OR REPLACE TEMP TABLE compared_ids AS
SELECT DISTINCT cdr_id
FROM (
    SELECT cdr_id, usage_date FROM call_detail_records
    UNION ALL
    SELECT cdr_id, usage_date FROM moved_records
)
WHERE usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
  AND usage_date <> $usage_date
  AND cdr_id IN (SELECT cdr_id FROM call_detail_records WHERE usage_date = $usage_date);
