-- Per client how often connections were short, how often people came back, and how good the media were; the most
-- connections first, at most 10,000 rows. A client is "Chrome 142 on Windows 10", or a name alone. $part says what of
-- it counts: 'browser', 'version' (the browser with it) or 'system'. NULL is what is not known.
WITH names AS (
    SELECT DISTINCT
        client,
        CASE WHEN client LIKE '% on %' THEN regexp_extract(client, '^(.*) on ', 1) ELSE client END AS browser,
        CASE WHEN client LIKE '% on %' THEN regexp_extract(client, '^.* on (.*)$', 1) END AS system
    FROM (SELECT client FROM client_usage UNION SELECT client FROM attendance)
),

parts AS (
    SELECT
        client,
        CASE $part
            WHEN 'browser' THEN regexp_replace(browser, ' \d+$', '')
            WHEN 'version' THEN browser
            ELSE system
        END AS part
    FROM names
),

used AS (
    SELECT
        part,
        sum(connections)::BIGINT AS connections,
        sum(short_connections)::BIGINT AS short_connections,
        sum(sent_video_good) / nullif(sum(sent_video_rated), 0) AS sent_video,
        sum(sent_audio_good) / nullif(sum(sent_audio_rated), 0) AS sent_audio,
        sum(received_video_good) / nullif(sum(received_video_rated), 0) AS received_video,
        sum(received_audio_good) / nullif(sum(received_audio_rated), 0) AS received_audio
    FROM client_usage
    JOIN parts ON parts.client IS NOT DISTINCT FROM client_usage.client
    GROUP BY part
),

attended AS (
    SELECT part, count(*) AS attendances, sum(rejoins)::BIGINT AS rejoins
    FROM attendance
    JOIN parts ON parts.client IS NOT DISTINCT FROM attendance.client
    WHERE conf_num IS NOT NULL
    GROUP BY part
)

SELECT
    used.*,
    coalesce(attended.attendances, 0) AS attendances,
    coalesce(attended.rejoins, 0) AS rejoins,
    used.short_connections / used.connections AS short_rate,
    attended.rejoins / attended.attendances AS rejoin_rate
FROM used
LEFT JOIN attended ON attended.part IS NOT DISTINCT FROM used.part
ORDER BY used.connections DESC, used.part
LIMIT 10_000;
