-- What the conferences that began on each day add up to, over all their days.
SELECT
    usage_date,
    count(conf_num) AS conferences,
    sum(connections)::BIGINT AS connections,
    sum(participant_minutes)::DOUBLE AS participant_minutes,
    sum(billable_minutes)::BIGINT AS billable_minutes,
    sum(met_minutes)::DOUBLE AS met_minutes,
    sum(alone_minutes)::DOUBLE AS alone_minutes,
    max(peak_participants) AS peak_participants_in_a_conference
FROM conference_usage
WHERE usage_date BETWEEN $first_date AND $last_date
GROUP BY usage_date;
