-- One row per record of the UTC days, direction and kind of media that stats_quality has an object for. Every value is read
-- as text first, so one of another shape costs no other.
INSERT INTO connection_quality BY NAME
WITH places AS (
    SELECT direction, media, '$.' || direction || '.' || media AS place
    FROM unnest(['send', 'receive']) AS directions(direction), unnest(['video', 'audio', 'sharing']) AS kinds(media)
),

parts AS (
    SELECT
        usage_date,
        cdr_id,
        nullif(app_id, '') AS app_id,
        client,
        direction,
        media,
        quality(json_extract(stats_quality, place)) AS given
    FROM call_detail_records
    LEFT JOIN clients USING (user_agent)
    CROSS JOIN places
    WHERE usage_date BETWEEN $first_date AND $last_date
      AND json_type(stats_quality, place) = 'OBJECT'
)

SELECT
    usage_date,
    cdr_id,
    app_id,
    client,
    direction,
    media,
    try_cast(given.avg_bitrate AS DECIMAL(18,3)) AS avg_bitrate,
    try_cast(given.min_bitrate AS DECIMAL(18,3)) AS min_bitrate,
    try_cast(given.max_bitrate AS DECIMAL(18,3)) AS max_bitrate,
    coalesce(good_or_bad(given.avg_quality), good_or_bad(given.avg_bitrate_quality)) AS avg_quality,
    coalesce(
        try_cast(given.good_percent AS DECIMAL(18,3)), try_cast(given.bitrate_good_percent AS DECIMAL(18,3))
    ) AS good_percent
FROM parts;
