-- How many of each day's connections are known by each of the three ways to tell a person.
SELECT
    usage_date,
    coalesce(sum(connections) FILTER (participant_known_by = 'user_ref'), 0)::BIGINT AS connections_known_by_user_ref,
    coalesce(sum(connections) FILTER (participant_known_by = 'user_name'), 0)::BIGINT AS connections_known_by_user_name,
    coalesce(sum(connections) FILTER (participant_known_by = 'cdr_id'), 0)::BIGINT AS connections_known_by_cdr_id
FROM attendance
WHERE usage_date BETWEEN $first_date AND $last_date
GROUP BY usage_date;
