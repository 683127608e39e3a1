-- The days that the touched conferences reach.
SELECT coalesce(min(first_date), $first_date) AS first_date, coalesce(max(last_date), $last_date) AS last_date
FROM touched_conferences;
