-- The connections of a person, how many were short, and how many of them EnableX rated and found good, per direction
-- and kind of media; of a person without a rating, one row.
WITH own AS (
    SELECT usage_date, cdr_id, room_duration_s
    FROM call_detail_records
    WHERE participant = $participant
),

rated AS (
    SELECT direction, media, count(avg_quality) AS rated, count_if(avg_quality = 'Good') AS good
    FROM connection_quality
    WHERE (usage_date, cdr_id) IN (SELECT usage_date, cdr_id FROM own)
    GROUP BY ALL
),

counted AS (
    SELECT count(*) AS connections, count_if(room_duration_s < 10) AS short_connections
    FROM own
)

SELECT counted.*, rated.*
FROM counted
LEFT JOIN rated ON true
ORDER BY direction, media;
