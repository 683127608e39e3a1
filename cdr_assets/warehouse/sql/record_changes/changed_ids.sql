-- Records of the day of which more than one version landed, those of one $slice of $slices.
CREATE OR REPLACE TEMP TABLE compared_ids AS
SELECT cdr_id
FROM call_detail_records
WHERE usage_date = $usage_date
  AND versions > 1
  AND hash(cdr_id) % $slices = $slice;
