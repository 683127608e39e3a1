-- Of the loaded lines of a record the last one stays: files are read oldest first, and rows keep that order.
DELETE FROM loaded_records
WHERE cdr_id IN (FROM repeated_ids)
  AND rowid NOT IN (SELECT max(rowid) FROM loaded_records WHERE cdr_id IN (FROM repeated_ids) GROUP BY cdr_id);
