-- The fields that later versions of a conference's records changed, without their values.
SELECT
    CASE WHEN $in_clear THEN changes.field ELSE shown_field(changes.field) END AS field,
    count(*) AS changes,
    max(changes.landed_at) AS last_landed_at
FROM record_changes AS changes
WHERE usage_date BETWEEN $usage_date AND $last_usage_date
  AND cdr_id IN (
      SELECT cdr_id
      FROM call_detail_records
      WHERE usage_date BETWEEN $usage_date AND $last_usage_date
        AND conf_num = $conf_num
        AND nullif(app_id, '') IS NOT DISTINCT FROM $app_id
  )
GROUP BY 1
ORDER BY changes DESC, 1;
