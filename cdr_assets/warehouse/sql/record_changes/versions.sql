-- Each later version of the day's records, with the text of the version before it, those of one $slice of $slices.
SELECT cdr_id, landed_at, version, before, record AS after
FROM (
    SELECT *, lag(record) OVER (PARTITION BY cdr_id ORDER BY version) AS before
    FROM landed_versions
    WHERE is_new
      AND hash(cdr_id) % $slices = $slice
      AND cdr_id IN (SELECT cdr_id FROM call_detail_records WHERE usage_date = $usage_date)
)
WHERE version > 1;
