-- Usage per owner and billing code, at most $most rows, the most minutes first, all apps together. Only those in $owners
-- and in $codes; an empty list is all of them, '' is what has none. Conferences, rooms and people are those of each day, summed.
SELECT
    owner_ref,
    billing_code,
    sum(connections)::BIGINT AS connections,
    sum(conferences)::BIGINT AS conferences,
    sum(rooms)::BIGINT AS rooms,
    coalesce(sum(participant_minutes), 0)::DECIMAL(38,3) AS participant_minutes,
    coalesce(sum(billable_minutes), 0)::BIGINT AS billable_minutes
FROM owner_usage
WHERE (len($owners::VARCHAR[]) = 0 OR coalesce(owner_ref, '') IN (SELECT unnest($owners::VARCHAR[])))
  AND (len($codes::VARCHAR[]) = 0 OR coalesce(billing_code, '') IN (SELECT unnest($codes::VARCHAR[])))
GROUP BY owner_ref, billing_code
ORDER BY participant_minutes DESC, connections DESC, owner_ref, billing_code
LIMIT $most;
