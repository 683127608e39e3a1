-- Every connection that overlaps one of the summed days, once for each: the part of it that lies within the day, the
-- person, the day of its record, and which of the conferences of one conf_num it belongs to.
CREATE OR REPLACE TEMP TABLE day_stays AS
WITH connections AS (
    SELECT
        usage_date AS record_date,
        nullif(app_id, '') AS app_id,
        nullif(conf_num, '') AS conf_num,
        person(user_ref, user_name, cdr_id) AS person,
        room_connect_dt,
        room_disconnect_dt,
        room_connect_dt::DATE AS first_date,
        last_day_of(room_disconnect_dt) AS last_date
    FROM call_detail_records
    WHERE room_connect_dt < $last_date + 1
      AND room_disconnect_dt > $first_date
      AND has_presence(room_connect_dt, room_disconnect_dt)
),

stays AS (
    SELECT days.usage_date, connections.* EXCLUDE (first_date, last_date)
    FROM connections
    JOIN summed_days AS days ON days.usage_date = first_date
    WHERE first_date = last_date
    UNION ALL
    SELECT days.usage_date, connections.* EXCLUDE (first_date, last_date)
    FROM connections
    JOIN summed_days AS days ON days.usage_date BETWEEN first_date AND last_date
    WHERE first_date < last_date
),

-- Records of one conf_num more than 7 days apart are two conferences. Both can have connections on one day. One of them
-- is of a record more than 3 days away then, which is rare.
wide AS (
    SELECT app_id, conf_num, min(record_date) AS first_date, max(record_date) AS last_date
    FROM stays
    WHERE conf_num IN (SELECT conf_num FROM stays WHERE abs(usage_date - record_date) > 3)
    GROUP BY app_id, conf_num
    HAVING last_date > first_date + 7
),

wide_dates AS (
    SELECT app_id, conf_num, record_date, count_if(coalesce(gap > 7, false)) OVER (
        PARTITION BY app_id, conf_num ORDER BY record_date
    ) AS conference
    FROM (
        SELECT app_id, conf_num, record_date, record_date - lag(record_date) OVER (
            PARTITION BY app_id, conf_num ORDER BY record_date
        ) AS gap
        FROM (
            SELECT DISTINCT wide.app_id, wide.conf_num, records.usage_date AS record_date
            FROM call_detail_records AS records
            JOIN wide
                ON wide.conf_num = records.conf_num
                AND wide.app_id IS NOT DISTINCT FROM nullif(records.app_id, '')
                AND records.usage_date BETWEEN wide.first_date AND wide.last_date
            WHERE records.usage_date BETWEEN (SELECT min(first_date) FROM wide) AND (SELECT max(last_date) FROM wide)
        )
    )
)

SELECT
    stays.* EXCLUDE (room_connect_dt, room_disconnect_dt),
    greatest(room_connect_dt, stays.usage_date::TIMESTAMP) AS enters,
    least(room_disconnect_dt, (stays.usage_date + 1)::TIMESTAMP) AS leaves,
    coalesce(conference, 0) AS conference
FROM stays
LEFT JOIN wide_dates
    ON wide_dates.conf_num = stays.conf_num
    AND wide_dates.app_id IS NOT DISTINCT FROM stays.app_id
    AND wide_dates.record_date = stays.record_date;
