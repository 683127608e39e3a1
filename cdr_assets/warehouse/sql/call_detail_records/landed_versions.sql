-- Every landed line of the compared records, oldest first, numbered by version: a line with the same bytes as the one
-- before it is the same version. The number of the request orders the lines; the answers to one request, or files from
-- before requests were numbered, go by time, then by day. The text of a record is kept only where $with_text.
CREATE OR REPLACE TEMP TABLE landed_versions AS
WITH lines AS (
    SELECT
        json ->> '$.cdr_id' AS cdr_id,
        json::VARCHAR AS record,
        list_position($files, filename) AS file_number
    FROM read_ndjson_objects($files, format = 'newline_delimited', compression = 'zstd', filename = true)
    WHERE json ->> '$.cdr_id' IN (FROM compared_ids)
),

in_files AS (
    SELECT
        cdr_id,
        $usage_dates[file_number] AS usage_date,
        $requests[file_number] AS request,
        $landed_ats[file_number] AS landed_at,
        row_number() OVER () AS line,
        md5_number(record) AS content,
        CASE WHEN $with_text THEN record END AS record
    FROM lines
),

in_order AS (
    SELECT *, row_number() OVER record_lines AS place, content IS DISTINCT FROM lag(content) OVER record_lines AS is_new
    FROM in_files
    WINDOW record_lines AS (PARTITION BY cdr_id ORDER BY request, landed_at, usage_date, line)
)

SELECT
    $usage_date AS built_for,
    cdr_id,
    usage_date,
    request,
    landed_at,
    place,
    is_new,
    (count(*) FILTER (is_new) OVER (PARTITION BY cdr_id ORDER BY place))::INTEGER AS version,
    record
FROM in_order;
