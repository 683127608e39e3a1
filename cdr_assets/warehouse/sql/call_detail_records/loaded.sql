-- Counts the rows of the load: all, those that DuckDB could not read, and those for update_lost_parts.sql to look at.
SELECT
    count(*) AS records,
    count(*) - count(cdr_id) AS unreadable,
    count(*) FILTER (
        regexp_matches(lost_fields, '(^|, )(room|user|sigserver|published_track|usage)(,|$)')
    ) AS with_bare_parts
FROM call_detail_records
WHERE usage_date = $usage_date;
