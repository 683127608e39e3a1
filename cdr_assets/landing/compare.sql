-- Compares an answer with the files that landed before it. $files has all of them, oldest first, the answer last.
-- One row: the answer's new records, its newer versions, records of former answers that it lacks, the records of all
-- files together, and the older files with at least one record that it lacks.
WITH landed AS (
    SELECT
        json ->> '$.cdr_id' AS cdr_id,
        md5_number(json::VARCHAR) AS content,
        filename,
        row_number() OVER () AS line
    FROM read_ndjson_objects($files, format = 'newline_delimited', compression = 'zstd', filename = true)
),

answer AS (
    SELECT cdr_id, arg_max(content, line) AS content FROM landed WHERE filename = $answer GROUP BY cdr_id
),

older AS (
    SELECT
        cdr_id,
        arg_max(content, line) AS content,
        bool_or(list_contains($former_answers, filename)) AS was_answered
    FROM landed
    WHERE filename <> $answer
    GROUP BY cdr_id
)

SELECT
    count(*) FILTER (older.cdr_id IS NULL) AS new_records,
    count(*) FILTER (older.content <> answer.content) AS changed_records,
    count(*) FILTER (answer.cdr_id IS NULL AND older.was_answered) AS vanished_records,
    count(*) AS landed_records,
    coalesce((
        SELECT list(DISTINCT filename) FROM landed WHERE filename <> $answer AND cdr_id NOT IN (FROM answer SELECT cdr_id)
    ), []) AS files_with_others
FROM older
FULL JOIN answer ON answer.cdr_id = older.cdr_id;
