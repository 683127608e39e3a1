-- Records of the day whose cdr_id is in the table a second time, on the day itself or within 7 days of it.
WITH day AS (
    SELECT cdr_id FROM call_detail_records WHERE usage_date = $usage_date
),

repeated AS (
    SELECT cdr_id FROM day GROUP BY cdr_id HAVING count(*) > 1
    UNION
    SELECT cdr_id
    FROM call_detail_records
    WHERE usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
      AND usage_date <> $usage_date
      AND cdr_id IN (FROM day)
)

SELECT cdr_id, string_agg(usage_date::VARCHAR, ', ' ORDER BY usage_date) AS usage_dates
FROM call_detail_records
WHERE usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
  AND cdr_id IN (FROM repeated)
GROUP BY cdr_id;
