-- Notes the Parquet files of some partitions of a table in those of their entries that are there.
UPDATE build_log
SET export_size = written.export_size, export_mtime_ns = written.export_mtime_ns
FROM (
    SELECT
        unnest($usage_dates::DATE[]) AS usage_date,
        unnest($export_sizes::BIGINT[]) AS export_size,
        unnest($export_mtimes_ns::BIGINT[]) AS export_mtime_ns
) AS written
WHERE build_log.usage_date = written.usage_date
  AND asset = $asset;
