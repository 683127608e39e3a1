-- How many of the day's minutes have an owner, as a share of 1; NULL without minutes.
SELECT round(sum(participant_minutes) FILTER (owner_ref IS NOT NULL) / sum(participant_minutes), 3) AS share_with_owner
FROM owner_usage
WHERE usage_date = $usage_date;
