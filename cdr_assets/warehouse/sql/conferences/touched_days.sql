-- The days that the touched conferences reach.
SELECT coalesce(min(first_date), $usage_date) AS first_date, coalesce(max(last_date), $usage_date) AS last_date
FROM touched_conferences;
