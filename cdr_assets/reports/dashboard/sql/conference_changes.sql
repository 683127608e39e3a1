-- The fields that later versions of a conference's records changed, without their values.
SELECT field, count(*) AS changes, max(changes.landed_at) AS last_landed_at
FROM record_changes AS changes
WHERE cdr_id IN (
    SELECT cdr_id
    FROM call_detail_records
    WHERE conf_num = $conf_num
      AND nullif(app_id, '') IS NOT DISTINCT FROM $app_id
)
GROUP BY field
ORDER BY changes DESC, field;
