-- Connections that are rated, and those of them that were Good, for every $step_days days, direction and kind of media.
WITH steps AS (
    SELECT
        $first_date::DATE + ((usage_date - $first_date::DATE) // $step_days * $step_days)::INTEGER AS first_day,
        COLUMNS('^(sent|received)_')
    FROM client_usage
),

sums AS (
    SELECT first_day, sum(COLUMNS(* EXCLUDE (first_day)))::BIGINT
    FROM steps
    GROUP BY first_day
)

SELECT first_day, direction, media, rated, good
FROM (
    SELECT first_day, unnest([
        {direction: 'sent', media: 'video', rated: sent_video_rated, good: sent_video_good},
        {direction: 'sent', media: 'audio', rated: sent_audio_rated, good: sent_audio_good},
        {direction: 'sent', media: 'sharing', rated: sent_sharing_rated, good: sent_sharing_good},
        {direction: 'received', media: 'video', rated: received_video_rated, good: received_video_good},
        {direction: 'received', media: 'audio', rated: received_audio_rated, good: received_audio_good},
        {direction: 'received', media: 'sharing', rated: received_sharing_rated, good: received_sharing_good}
    ], recursive := true)
    FROM sums
)
ORDER BY ALL;
