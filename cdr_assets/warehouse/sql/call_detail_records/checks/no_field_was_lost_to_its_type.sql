-- Records with a field that did not fit its type and is NULL in the table.
SELECT usage_date, cdr_id, lost_fields
FROM call_detail_records
WHERE usage_date BETWEEN $first_date AND $last_date
  AND lost_fields IS NOT NULL;
