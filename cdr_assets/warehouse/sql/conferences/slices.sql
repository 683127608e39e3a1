-- The number of slices in which the touched conferences are summed, so that they fit in memory: of 200,000 conferences
-- or 1,000,000 records each.
SELECT greatest(
    (SELECT count(*) FROM touched_conferences) // 200_000,
    (SELECT count(*) FROM call_detail_records WHERE usage_date BETWEEN $first_date AND $last_date) // 1_000_000
) + 1 AS slices;
