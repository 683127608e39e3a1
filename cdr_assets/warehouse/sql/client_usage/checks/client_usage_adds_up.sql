-- Apps whose connections, minutes or ratings over all clients are not those of the day's records. Minutes of clients are
-- rounded each, so their sum may differ by half a thousandth for each.
WITH records AS (
    SELECT
        usage_date,
        nullif(app_id, '') AS app_id,
        count(*) AS connections,
        coalesce(count_if(room_duration_s < 10), 0) AS short_connections,
        coalesce(sum(room_duration_s), 0) / 60 AS participant_minutes
    FROM call_detail_records
    WHERE usage_date BETWEEN $first_date AND $last_date
    GROUP BY ALL
),

ratings AS (
    SELECT usage_date, app_id, count(avg_quality) AS rated, count_if(avg_quality = 'Good') AS good
    FROM connection_quality
    WHERE usage_date BETWEEN $first_date AND $last_date
    GROUP BY ALL
),

clients AS (
    SELECT
        usage_date,
        app_id,
        count(*) AS clients,
        sum(connections) AS connections,
        sum(short_connections) AS short_connections,
        sum(participant_minutes) AS participant_minutes,
        sum(
            sent_video_rated + sent_audio_rated + sent_sharing_rated
            + received_video_rated + received_audio_rated + received_sharing_rated
        ) AS rated,
        sum(
            sent_video_good + sent_audio_good + sent_sharing_good
            + received_video_good + received_audio_good + received_sharing_good
        ) AS good
    FROM client_usage
    WHERE usage_date BETWEEN $first_date AND $last_date
    GROUP BY ALL
)

SELECT
    coalesce(records.usage_date, clients.usage_date) AS usage_date,
    coalesce(records.app_id, clients.app_id) AS app_id,
    records.connections AS connections_in_records,
    clients.connections AS connections_in_usage,
    records.participant_minutes::DOUBLE AS minutes_in_records,
    clients.participant_minutes::DOUBLE AS minutes_in_usage,
    ratings.rated AS ratings_in_records,
    clients.rated AS ratings_in_usage
FROM records
FULL JOIN clients
    ON clients.usage_date = records.usage_date
    AND clients.app_id IS NOT DISTINCT FROM records.app_id
LEFT JOIN ratings
    ON ratings.usage_date = records.usage_date
    AND ratings.app_id IS NOT DISTINCT FROM records.app_id
WHERE clients.connections IS DISTINCT FROM records.connections
   OR clients.short_connections IS DISTINCT FROM records.short_connections
   OR coalesce(abs(clients.participant_minutes - records.participant_minutes) > 0.0005 * clients + 0.0000001, true)
   OR coalesce(clients.rated, 0) <> coalesce(ratings.rated, 0)
   OR coalesce(clients.good, 0) <> coalesce(ratings.good, 0);
