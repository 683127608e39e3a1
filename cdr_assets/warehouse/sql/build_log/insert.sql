-- Adds the entry of a partition.
INSERT INTO build_log BY NAME
SELECT
    $usage_date AS usage_date,
    $asset AS asset,
    $landing_version AS landing_version,
    $fingerprint AS fingerprint,
    $built_at AS built_at,
    $export_size AS export_size,
    $export_mtime_ns AS export_mtime_ns;
