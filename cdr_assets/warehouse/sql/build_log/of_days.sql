-- The entries of some days.
SELECT asset, usage_date, landing_version, fingerprint, export_size, export_mtime_ns
FROM build_log
WHERE usage_date IN $usage_dates;
