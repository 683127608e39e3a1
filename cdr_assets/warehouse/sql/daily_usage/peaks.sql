-- Most connections open at once in each app within each summed day, and the first moment of it. What enters and leaves at
-- one instant is counted together, which is leaves first. The count runs within each hour, from that of its beginning,
-- so that a sort takes little memory.
CREATE OR REPLACE TEMP TABLE peaks AS
WITH steps AS (
    SELECT usage_date, app_id, epoch_us(moment) AS moment, epoch_us(moment) // 3_600_000_000 AS hour, sum(step) AS step
    FROM (
        SELECT usage_date, app_id, enters AS moment, 1 AS step FROM day_stays
        UNION ALL
        SELECT usage_date, app_id, leaves, -1 FROM day_stays
    )
    GROUP BY usage_date, app_id, moment
),

hours AS (
    SELECT usage_date, app_id, hour, coalesce(sum(sum(step)) OVER (
        PARTITION BY usage_date, app_id ORDER BY hour ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ), 0) AS at_first
    FROM steps
    GROUP BY usage_date, app_id, hour
),

moments AS (
    SELECT usage_date, app_id, hour, moment, sum(step) OVER (
        PARTITION BY usage_date, app_id, hour ORDER BY moment ROWS UNBOUNDED PRECEDING
    ) AS more
    FROM steps
),

peaks_of_hours AS (
    SELECT usage_date, app_id, hour, max(more) AS more, arg_max(moment, (more, -moment)) AS moment
    FROM moments
    GROUP BY usage_date, app_id, hour
)

SELECT
    hours.usage_date,
    hours.app_id,
    max(at_first + more)::BIGINT AS peak_connections,
    make_timestamp(arg_max(moment, (at_first + more, -moment))) AS peak_at
FROM peaks_of_hours
JOIN hours
    ON hours.usage_date = peaks_of_hours.usage_date
    AND hours.app_id IS NOT DISTINCT FROM peaks_of_hours.app_id
    AND hours.hour = peaks_of_hours.hour
GROUP BY hours.usage_date, hours.app_id;
