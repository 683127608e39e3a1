-- The busiest rooms of the period, at most $most, all apps together. Conferences are those of each day, summed.
-- share_of_minutes is a share of the minutes of all rooms, 0 to 1. The columns all_... are sums over all rooms, and
-- all_rows counts also what names no room.
SELECT
    room_id,
    sum(connections)::BIGINT AS connections,
    sum(conferences)::BIGINT AS conferences,
    coalesce(sum(participant_minutes), 0)::DECIMAL(38,3) AS participant_minutes,
    coalesce(sum(billable_minutes), 0)::BIGINT AS billable_minutes,
    max(peak_participants) AS peak_participants,
    (sum(participant_minutes) / nullif(sum(sum(participant_minutes)) OVER (), 0))::DOUBLE AS share_of_minutes,
    count(*) OVER () AS all_rows,
    count(room_id) OVER () AS all_rooms,
    (sum(sum(connections)) OVER ())::BIGINT AS all_connections,
    coalesce(sum(sum(participant_minutes)) OVER (), 0)::DECIMAL(38,3) AS all_participant_minutes,
    coalesce(sum(sum(billable_minutes)) OVER (), 0)::BIGINT AS all_billable_minutes
FROM room_usage
GROUP BY room_id
ORDER BY participant_minutes DESC, connections DESC, room_id
LIMIT $most;
