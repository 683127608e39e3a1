-- Of the versions of a record the last one stays: files are read oldest first, and rows keep that order.
DELETE FROM call_detail_records
WHERE usage_date = $usage_date
  AND rowid NOT IN (SELECT max(rowid) FROM call_detail_records WHERE usage_date = $usage_date GROUP BY cdr_id);
