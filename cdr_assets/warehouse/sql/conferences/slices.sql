-- The slices in which the touched conferences are summed, so that they fit in memory: of 200,000 conferences or 1,000,000
-- records each. A slice is a range of numbers: for some joins DuckDB makes a list of all numbers between the least
-- and the largest, and does not count it as memory.
WITH counted AS (
    SELECT conferences, greatest(conferences // 200_000, records // 1_000_000) + 1 AS slices
    FROM (SELECT coalesce(max(conference_number), 0) AS conferences FROM conference_days)
    CROSS JOIN (
        SELECT count(*) AS records FROM call_detail_records WHERE usage_date BETWEEN $first_date AND $last_date
    )
)

SELECT
    slice * conferences // slices + 1 AS first_number,
    (slice + 1) * conferences // slices AS last_number
FROM counted, range(slices) AS numbered(slice)
ORDER BY first_number;
