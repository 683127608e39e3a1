-- Every connection that overlaps the UTC day: the part of it that lies within the day, the person, and which of the
-- conferences of one conf_num it belongs to.
CREATE OR REPLACE TEMP TABLE day_stays AS
WITH stays AS (
    SELECT
        usage_date,
        nullif(app_id, '') AS app_id,
        nullif(conf_num, '') AS conf_num,
        person(user_ref, user_name, cdr_id) AS person,
        greatest(room_connect_dt, $usage_date::TIMESTAMP) AS enters,
        least(room_disconnect_dt, ($usage_date + 1)::TIMESTAMP) AS leaves
    FROM call_detail_records
    WHERE room_connect_dt < $usage_date + 1
      AND room_disconnect_dt > $usage_date
      AND has_presence(room_connect_dt, room_disconnect_dt)
),

-- Records of one conf_num more than 7 days apart are two conferences. Both can have connections on this day.
wide AS (
    SELECT app_id, conf_num, min(usage_date) AS first_date, max(usage_date) AS last_date
    FROM stays
    WHERE conf_num IS NOT NULL
    GROUP BY app_id, conf_num
    HAVING last_date > first_date + 7
),

wide_days AS (
    SELECT app_id, conf_num, usage_date, count_if(coalesce(gap > 7, false)) OVER (
        PARTITION BY app_id, conf_num ORDER BY usage_date
    ) AS conference
    FROM (
        SELECT app_id, conf_num, usage_date, usage_date - lag(usage_date) OVER (
            PARTITION BY app_id, conf_num ORDER BY usage_date
        ) AS gap
        FROM (
            SELECT DISTINCT wide.app_id, wide.conf_num, records.usage_date
            FROM call_detail_records AS records
            JOIN wide
                ON wide.conf_num = records.conf_num
                AND wide.app_id IS NOT DISTINCT FROM nullif(records.app_id, '')
                AND records.usage_date BETWEEN wide.first_date AND wide.last_date
            WHERE records.usage_date BETWEEN (SELECT min(first_date) FROM wide) AND (SELECT max(last_date) FROM wide)
        )
    )
)

SELECT stays.* EXCLUDE (usage_date), coalesce(conference, 0) AS conference
FROM stays
LEFT JOIN wide_days
    ON wide_days.conf_num = stays.conf_num
    AND wide_days.app_id IS NOT DISTINCT FROM stays.app_id
    AND wide_days.usage_date = stays.usage_date;
