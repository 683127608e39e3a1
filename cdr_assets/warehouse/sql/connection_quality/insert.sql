-- One row per record of the UTC day, direction and kind of media that stats_quality tells of. Every value is read as text,
-- so one of another shape costs no other.
INSERT INTO connection_quality BY NAME
WITH records AS (
    SELECT usage_date, cdr_id, nullif(app_id, '') AS app_id, qualities(stats_quality) AS given
    FROM call_detail_records
    WHERE usage_date = $usage_date
      AND stats_quality IS NOT NULL
),

parts AS (
    SELECT usage_date, cdr_id, app_id, unnest([
        {'direction': 'send', 'media': 'video', 'given': given.send.video},
        {'direction': 'send', 'media': 'audio', 'given': given.send.audio},
        {'direction': 'send', 'media': 'sharing', 'given': given.send.sharing},
        {'direction': 'receive', 'media': 'video', 'given': given.receive.video},
        {'direction': 'receive', 'media': 'audio', 'given': given.receive.audio},
        {'direction': 'receive', 'media': 'sharing', 'given': given.receive.sharing}
    ], max_depth := 2)
    FROM records
)

SELECT
    usage_date,
    cdr_id,
    app_id,
    direction,
    media,
    try_cast(given.avg_bitrate AS DECIMAL(18,3)) AS avg_bitrate,
    try_cast(given.min_bitrate AS DECIMAL(18,3)) AS min_bitrate,
    try_cast(given.max_bitrate AS DECIMAL(18,3)) AS max_bitrate,
    coalesce(good_or_bad(given.avg_quality), good_or_bad(given.avg_bitrate_quality)) AS avg_quality,
    coalesce(
        try_cast(given.good_percent AS DECIMAL(18,3)), try_cast(given.bitrate_good_percent AS DECIMAL(18,3))
    ) AS good_percent
FROM parts
WHERE given IS NOT NULL;
