-- The partition as a Parquet file.
COPY (SELECT * FROM conference_usage WHERE usage_date = $usage_date) TO $file (FORMAT parquet, COMPRESSION zstd);
