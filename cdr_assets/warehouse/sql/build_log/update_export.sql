-- Notes the Parquet file of a partition, if it has an entry.
UPDATE build_log
SET export_size = $export_size, export_mtime_ns = $export_mtime_ns
WHERE usage_date = $usage_date
  AND asset = $asset;
