-- Records whose trans_date is on another UTC day than their partition, or is none.
SELECT cdr_id, trans_date::VARCHAR AS trans_date
FROM call_detail_records
WHERE usage_date = $usage_date
  AND trans_date::DATE IS DISTINCT FROM usage_date;
