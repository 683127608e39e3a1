-- A record lies under two days when a newer version of it has another trans_date. It stays under the day of the newest
-- version, which is in the file whose name sorts last. Returns the day of each row that was deleted.
DELETE FROM call_detail_records
USING (
    SELECT
        json ->> '$.cdr_id' AS cdr_id,
        arg_max(
            regexp_extract(filename, 'usage_date=(\d{4}-\d{2}-\d{2})', 1)::DATE,
            parse_filename(filename) || filename
        ) AS newest_date
    FROM read_ndjson_objects($files, format = 'newline_delimited', compression = 'zstd', filename = true)
    GROUP BY ALL
) AS landed
WHERE call_detail_records.cdr_id = landed.cdr_id
  AND call_detail_records.usage_date <> landed.newest_date
  AND call_detail_records.usage_date IN $usage_dates
RETURNING call_detail_records.usage_date;
