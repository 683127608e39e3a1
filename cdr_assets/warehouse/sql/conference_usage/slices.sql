-- The number of slices in which the touched conferences are summed, of 200,000 each, so that they fit in memory.
SELECT 1 + count(*) // 200_000 AS slices FROM touched_conferences;
