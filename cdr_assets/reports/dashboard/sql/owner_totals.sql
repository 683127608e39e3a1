-- The sums over owners and billing codes, and how many rows a table of them has; as in owners.sql.
SELECT
    count(DISTINCT [owner_ref, billing_code]) AS rows,
    coalesce(sum(connections), 0)::BIGINT AS connections,
    coalesce(sum(participant_minutes), 0)::DECIMAL(38,3) AS participant_minutes,
    coalesce(sum(billable_minutes), 0)::BIGINT AS billable_minutes,
    coalesce(sum(participant_minutes) FILTER (owner_ref IS NULL), 0)::DECIMAL(38,3) AS unallocated_minutes,
    coalesce(sum(participant_minutes) FILTER (owner_ref IS NULL AND billing_code IS NULL), 0)::DECIMAL(38,3) AS bare_minutes
FROM owner_usage
WHERE (len($owners::VARCHAR[]) = 0 OR coalesce(owner_ref, '') IN (SELECT unnest($owners::VARCHAR[])))
  AND (len($codes::VARCHAR[]) = 0 OR coalesce(billing_code, '') IN (SELECT unnest($codes::VARCHAR[])));
