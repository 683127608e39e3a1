-- One row per app, client and UTC day.
INSERT INTO client_usage BY NAME
WITH used AS (
    SELECT
        usage_date,
        nullif(app_id, '') AS app_id,
        client,
        count(*) AS connections,
        coalesce(count_if(room_duration_s < 10), 0) AS short_connections,
        minutes(coalesce(sum(room_duration_s), 0)) AS participant_minutes
    FROM call_detail_records
    LEFT JOIN clients USING (user_agent)
    WHERE usage_date BETWEEN $first_date AND $last_date
    GROUP BY ALL
),

rated AS (
    SELECT
        usage_date,
        app_id,
        client,
        count(avg_quality) FILTER (direction = 'send' AND media = 'video') AS sent_video_rated,
        count_if(avg_quality = 'Good' AND direction = 'send' AND media = 'video') AS sent_video_good,
        count(avg_quality) FILTER (direction = 'send' AND media = 'audio') AS sent_audio_rated,
        count_if(avg_quality = 'Good' AND direction = 'send' AND media = 'audio') AS sent_audio_good,
        count(avg_quality) FILTER (direction = 'send' AND media = 'sharing') AS sent_sharing_rated,
        count_if(avg_quality = 'Good' AND direction = 'send' AND media = 'sharing') AS sent_sharing_good,
        count(avg_quality) FILTER (direction = 'receive' AND media = 'video') AS received_video_rated,
        count_if(avg_quality = 'Good' AND direction = 'receive' AND media = 'video') AS received_video_good,
        count(avg_quality) FILTER (direction = 'receive' AND media = 'audio') AS received_audio_rated,
        count_if(avg_quality = 'Good' AND direction = 'receive' AND media = 'audio') AS received_audio_good,
        count(avg_quality) FILTER (direction = 'receive' AND media = 'sharing') AS received_sharing_rated,
        count_if(avg_quality = 'Good' AND direction = 'receive' AND media = 'sharing') AS received_sharing_good
    FROM connection_quality
    WHERE usage_date BETWEEN $first_date AND $last_date
    GROUP BY ALL
)

SELECT
    used.*,
    coalesce(COLUMNS(rated.* EXCLUDE (usage_date, app_id, client)), 0)
FROM used
LEFT JOIN rated
    ON rated.usage_date = used.usage_date
    AND rated.app_id IS NOT DISTINCT FROM used.app_id
    AND rated.client IS NOT DISTINCT FROM used.client;
