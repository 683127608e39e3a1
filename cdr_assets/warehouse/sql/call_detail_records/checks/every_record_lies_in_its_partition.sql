-- Records whose trans_date is on another UTC day than their partition, or is none.
SELECT usage_date, cdr_id, trans_date::VARCHAR AS trans_date
FROM call_detail_records
WHERE usage_date BETWEEN $first_date AND $last_date
  AND trans_date::DATE IS DISTINCT FROM usage_date;
