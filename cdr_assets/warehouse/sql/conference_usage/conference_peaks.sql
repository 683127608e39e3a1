-- Most connections open at once in each touched conference of the slice, counted as in room_usage. It is a statement of
-- its own, so that its sort does not share the memory with the sums.
CREATE OR REPLACE TEMP TABLE conference_peaks AS
WITH stays AS (
    SELECT conference_number, first_date, room_connect_dt, room_disconnect_dt
    FROM call_detail_records AS records
    JOIN conference_days
        ON conference_days.conf_num IS NOT DISTINCT FROM nullif(records.conf_num, '')
        AND conference_days.app_id IS NOT DISTINCT FROM nullif(records.app_id, '')
        AND conference_days.usage_date = records.usage_date
    WHERE records.usage_date BETWEEN $first_date AND $last_date
      AND conference_number % $slices = $slice
      AND room_connect_dt < room_disconnect_dt
)

SELECT conference_number, first_date, max(open_connections) AS peak_participants
FROM (
    SELECT conference_number, first_date, sum(step) OVER (
        ORDER BY conference_number, first_date, moment, step ROWS UNBOUNDED PRECEDING
    ) AS open_connections
    FROM (
        SELECT conference_number, first_date, room_connect_dt AS moment, 1 AS step FROM stays
        UNION ALL
        SELECT conference_number, first_date, room_disconnect_dt, -1 FROM stays
    )
)
GROUP BY conference_number, first_date;
