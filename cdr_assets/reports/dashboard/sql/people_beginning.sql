-- The people whose hash begins with a text, at most $most.
SELECT DISTINCT participant
FROM attendance
WHERE starts_with(participant, $beginning)
ORDER BY participant
LIMIT $most;
