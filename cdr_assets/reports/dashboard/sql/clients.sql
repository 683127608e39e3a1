-- Per client how often connections were short, how often people came back, and how good the media were; the most
-- connections first, at most 10,000 rows. A client is "Chrome 142 on Windows 10", or a name alone. $part says what of
-- it counts: 'browser', 'version' (the browser with it) or 'system'. NULL is what is not known.
WITH used AS (
    SELECT client, sum(COLUMNS(* EXCLUDE (usage_date, app_id, client))) FROM client_usage GROUP BY client
),

attended AS (
    SELECT client, count(*) AS attendances, sum(rejoins) AS rejoins
    FROM attendance
    WHERE conf_num IS NOT NULL
    GROUP BY client
),

clients AS (
    SELECT
        *,
        CASE WHEN client LIKE '% on %' THEN regexp_extract(client, '^(.*) on ', 1) ELSE client END AS browser,
        CASE WHEN client LIKE '% on %' THEN regexp_extract(client, '^.* on (.*)$', 1) END AS system
    FROM (FROM used UNION ALL BY NAME FROM attended)
)

SELECT
    CASE $part
        WHEN 'browser' THEN regexp_replace(browser, ' \d+$', '')
        WHEN 'version' THEN browser
        ELSE system
    END AS part,
    coalesce(sum(connections), 0)::BIGINT AS connections,
    coalesce(sum(short_connections), 0)::BIGINT AS short_connections,
    coalesce(sum(attendances), 0)::BIGINT AS attendances,
    coalesce(sum(rejoins), 0)::BIGINT AS rejoins,
    sum(short_connections) / nullif(sum(connections), 0) AS short_rate,
    sum(rejoins) / nullif(sum(attendances), 0) AS rejoin_rate,
    sum(sent_video_good) / nullif(sum(sent_video_rated), 0) AS sent_video,
    sum(sent_audio_good) / nullif(sum(sent_audio_rated), 0) AS sent_audio,
    sum(received_video_good) / nullif(sum(received_video_rated), 0) AS received_video,
    sum(received_audio_good) / nullif(sum(received_audio_rated), 0) AS received_audio
FROM clients
GROUP BY part
ORDER BY connections DESC, part
LIMIT 10_000;
