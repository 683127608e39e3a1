-- How many of each day's minutes have an owner, as a share of 1; NULL without minutes.
SELECT
    usage_date,
    round(
        (coalesce(sum(participant_minutes) FILTER (owner_ref IS NOT NULL), 0) / nullif(sum(participant_minutes), 0))::DOUBLE, 3
    ) AS share_of_minutes_with_owner
FROM owner_usage
WHERE usage_date BETWEEN $first_date AND $last_date
GROUP BY usage_date;
