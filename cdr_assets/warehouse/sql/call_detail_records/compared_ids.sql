-- Ids of the day's records that landed more than once: on the day, where $may_repeat says that this is possible, or also
-- on another day within 7 of it.
CREATE OR REPLACE TEMP TABLE compared_ids AS
SELECT cdr_id
FROM call_detail_records
WHERE usage_date = $usage_date
  AND $may_repeat
GROUP BY cdr_id
HAVING count(*) > 1
UNION
SELECT cdr_id
FROM (
    SELECT cdr_id, usage_date FROM call_detail_records
    UNION ALL
    SELECT cdr_id, usage_date FROM moved_records
)
WHERE usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
  AND usage_date <> $usage_date
  AND cdr_id IN (SELECT cdr_id FROM call_detail_records WHERE usage_date = $usage_date);
