-- Most connections open at once in each app within the UTC day, and the first moment of it; leaves first at one instant.
CREATE OR REPLACE TEMP TABLE peaks AS
WITH moments AS (
    SELECT app_id, moment, sum(step) OVER (
        PARTITION BY app_id ORDER BY moment, step ROWS UNBOUNDED PRECEDING
    ) AS connections
    FROM (
        SELECT app_id, enters AS moment, 1 AS step FROM day_stays
        UNION ALL
        SELECT app_id, leaves, -1 FROM day_stays
    )
),

peaks AS (
    SELECT app_id, max(connections) AS peak_connections FROM moments GROUP BY app_id
)

SELECT peaks.app_id, any_value(peak_connections) AS peak_connections, min(moment) AS peak_at
FROM peaks
JOIN moments
    ON moments.app_id IS NOT DISTINCT FROM peaks.app_id
    AND moments.connections = peaks.peak_connections
GROUP BY peaks.app_id;
