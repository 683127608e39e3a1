-- Adds changed fields, given as lists of the same length.
INSERT INTO record_changes BY NAME
WITH changes AS (
    SELECT
        unnest($cdr_ids::VARCHAR[]) AS cdr_id,
        unnest($landed_ats::TIMESTAMP[]) AS landed_at,
        unnest($versions::INTEGER[]) AS version,
        unnest($fields::VARCHAR[]) AS field,
        unnest($befores::VARCHAR[]) AS before,
        unnest($afters::VARCHAR[]) AS after
)

SELECT records.usage_date, records.app_id, changes.*
FROM changes
JOIN call_detail_records AS records ON records.cdr_id = changes.cdr_id AND records.usage_date = $usage_date;
