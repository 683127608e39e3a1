-- Other days whose rows no longer say what landed: the newest version of a compared record lies there, but no row has
-- it; or an older version of a record lies there, whose newer one is gone from the landing zone.
SELECT usage_date
FROM newest_versions
WHERE usage_date <> $usage_date
  AND (usage_date, cdr_id) NOT IN (
      SELECT (usage_date, cdr_id)
      FROM call_detail_records
      WHERE usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
        AND cdr_id IN (FROM compared_ids)
  )
UNION
SELECT usage_date
FROM moved_records
WHERE usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
  AND cdr_id NOT IN (FROM compared_ids)
  AND cdr_id NOT IN (
      SELECT cdr_id
      FROM call_detail_records
      WHERE usage_date BETWEEN $usage_date::DATE - 14 AND $usage_date::DATE + 14
        AND cdr_id IN (SELECT cdr_id FROM moved_records)
  )
ORDER BY usage_date;
