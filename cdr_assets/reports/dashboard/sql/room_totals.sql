-- The sums of all rooms, and how many rows a table of rooms has: one each, and one for what names no room.
SELECT
    count(DISTINCT coalesce('r' || room_id, '')) AS rows,
    count(DISTINCT room_id) AS rooms,
    coalesce(sum(connections), 0)::BIGINT AS connections,
    coalesce(sum(participant_minutes), 0)::DECIMAL(38,3) AS participant_minutes,
    coalesce(sum(billable_minutes), 0)::BIGINT AS billable_minutes
FROM room_usage;
