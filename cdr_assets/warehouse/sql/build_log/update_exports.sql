-- Notes the Parquet files of a table's partitions, for those that have an entry. Returns the entries.
UPDATE build_log
SET export_size = exported.export_size, export_mtime_ns = exported.export_mtime_ns
FROM (
    SELECT
        unnest($usage_dates) AS usage_date,
        unnest($sizes) AS export_size,
        unnest($mtimes_ns) AS export_mtime_ns
) AS exported
WHERE build_log.usage_date = exported.usage_date
  AND build_log.asset = $asset
RETURNING
    build_log.asset, build_log.usage_date, landing_version, fingerprint, build_log.export_size,
    build_log.export_mtime_ns;
