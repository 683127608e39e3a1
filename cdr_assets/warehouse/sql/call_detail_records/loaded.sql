-- What the load brought: rows, rows that repeat a cdr_id, rows that DuckDB could not read, rows with a part to look at.
SELECT
    count(*) AS records,
    count(cdr_id) - count(DISTINCT cdr_id) AS repeated,
    count(*) - count(cdr_id) AS unreadable,
    count(*) FILTER (
        regexp_matches(lost_fields, '(^|, )(room|user|sigserver|published_track|usage)(,|$)')
    ) AS with_bare_parts
FROM call_detail_records
WHERE usage_date = $usage_date;
