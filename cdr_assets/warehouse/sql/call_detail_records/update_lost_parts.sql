-- A nested object without any known field counts as lost only if it was not an object at all; `{}` is fine. Takes the
-- names of such empty objects out of lost_fields.
UPDATE call_detail_records
SET lost_fields = nullif(array_to_string(list_filter(
    string_split(lost_fields, ', '), lambda field: NOT list_contains(empty_parts, field)
), ', '), '')
FROM (
    SELECT
        cdr_id,
        arg_max([
            CASE WHEN json_type(room) = 'OBJECT' THEN 'room' END,
            CASE WHEN json_type("user") = 'OBJECT' THEN 'user' END,
            CASE WHEN json_type(sigserver) = 'OBJECT' THEN 'sigserver' END,
            CASE WHEN json_type(published_track) = 'OBJECT' THEN 'published_track' END,
            CASE WHEN json_type(usage) = 'OBJECT' THEN 'usage' END
        ], line) AS empty_parts
    FROM (
        SELECT *, row_number() OVER () AS line
        FROM read_json(
            $files,
            format = 'newline_delimited',
            compression = 'zstd',
            ignore_errors = true,
            columns = {
                'cdr_id': 'VARCHAR', 'room': 'JSON', 'user': 'JSON', 'sigserver': 'JSON', 'published_track': 'JSON',
                'usage': 'JSON'
            }
        )
    )
    GROUP BY cdr_id
) AS landed
WHERE call_detail_records.usage_date = $usage_date
  AND call_detail_records.cdr_id = landed.cdr_id
  AND call_detail_records.lost_fields IS NOT NULL;
