-- One row per table and UTC day that is built and not blocked by a check: what it was built from, and its export.
CREATE TABLE build_log (
    usage_date DATE,                         -- UTC day; the partition
    asset VARCHAR,                           -- table
    landing_version VARCHAR,                 -- which landing files it was built from
    fingerprint VARCHAR,                     -- which SQL built it
    built_at TIMESTAMP,                      -- when it was built, UTC
    export_size BIGINT,                      -- bytes of its Parquet file; NULL if it has none
    export_mtime_ns BIGINT                   -- when that file was changed, nanoseconds since 1970 UTC; of an object, its ETag
);
