-- What the rooms of each day add up to. A conference counts once in every room that its records name.
SELECT
    usage_date,
    count(DISTINCT room_id) AS rooms,
    sum(conferences)::BIGINT AS conferences,
    sum(connections)::BIGINT AS connections,
    sum(participant_minutes)::DOUBLE AS participant_minutes,
    sum(billable_minutes)::BIGINT AS billable_minutes,
    max(peak_participants) AS peak_participants_in_a_room
FROM room_usage
WHERE usage_date BETWEEN $first_date AND $last_date
GROUP BY usage_date;
