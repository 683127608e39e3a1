-- Every entry.
SELECT asset, usage_date, landing_version, fingerprint, export_size, export_mtime_ns
FROM build_log;
