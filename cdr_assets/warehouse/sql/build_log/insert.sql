-- Adds the entries of some partitions.
INSERT INTO build_log BY NAME
SELECT
    unnest($usage_dates::DATE[]) AS usage_date,
    unnest($assets::VARCHAR[]) AS asset,
    unnest($landing_versions::VARCHAR[]) AS landing_version,
    unnest($fingerprints::VARCHAR[]) AS fingerprint,
    $built_at AS built_at,
    unnest($export_sizes::BIGINT[]) AS export_size,
    unnest($export_mtimes_ns::BIGINT[]) AS export_mtime_ns;
