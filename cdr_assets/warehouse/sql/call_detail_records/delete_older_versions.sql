-- Of the lines of a record on the day the last one stays: files are read oldest first, and rows keep that order.
DELETE FROM call_detail_records
WHERE usage_date = $usage_date
  AND cdr_id IN (FROM compared_ids)
  AND rowid NOT IN (
      SELECT max(rowid)
      FROM call_detail_records
      WHERE usage_date = $usage_date
        AND cdr_id IN (FROM compared_ids)
      GROUP BY cdr_id
  );
