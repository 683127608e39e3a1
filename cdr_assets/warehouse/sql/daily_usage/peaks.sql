-- Most connections open at once in each app within each summed day, and the first moment of it. At one instant, leaves
-- come before entries. Each hour is counted by itself, so that a sort takes little memory; what was open before the hour is
-- added afterwards. To find the largest count of an hour and its first moment in one go, both are put into one number: the
-- count, then the microseconds that are left of the hour.
CREATE OR REPLACE TEMP TABLE peaks AS
WITH steps AS (
    SELECT usage_date, app_id, date_trunc('hour', enters) AS hour, enters AS moment, 1 AS step FROM day_stays
    UNION ALL
    SELECT usage_date, app_id, date_trunc('hour', leaves), leaves, -1 FROM day_stays
),

moments AS (
    SELECT usage_date, app_id, hour, step, moment, sum(step) OVER (
        PARTITION BY usage_date, app_id, hour ORDER BY moment, step ROWS UNBOUNDED PRECEDING
    )::BIGINT AS more
    FROM steps
),

hours AS (
    SELECT
        usage_date,
        app_id,
        hour,
        sum(step) AS change,
        max(more * 3_600_000_000 + 3_600_000_000 - (epoch_us(moment) - epoch_us(hour))) AS first_largest
    FROM moments
    GROUP BY usage_date, app_id, hour
),

hours_in_order AS (
    SELECT
        usage_date,
        app_id,
        (first_largest - 1) // 3_600_000_000 + coalesce(sum(change) OVER (
            PARTITION BY usage_date, app_id ORDER BY hour ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), 0) AS connections,
        epoch_us(hour) + 3_599_999_999 - (first_largest - 1) % 3_600_000_000 AS moment
    FROM hours
)

SELECT
    usage_date,
    app_id,
    max(connections)::BIGINT AS peak_connections,
    make_timestamp(arg_max(moment, (connections, -moment))) AS peak_at
FROM hours_in_order
GROUP BY usage_date, app_id;
