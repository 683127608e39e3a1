-- The number of slices in which the versions are compared, of about $slice_size records each, so that they fit in
-- memory; 0 if no record has several.
SELECT CASE WHEN count(*) = 0 THEN 0 ELSE 1 + count(*) // $slice_size END AS slices
FROM call_detail_records
WHERE usage_date = $usage_date
  AND versions > 1;
