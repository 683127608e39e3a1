-- One row per app, owner, billing code and UTC day. A name that a record's own room_details does not give is that of
-- the file of rooms.
INSERT INTO owner_usage BY NAME
WITH records AS (
    SELECT
        records.*,
        coalesce(given_text(room_details, '$.owner_ref'), rooms.owner_ref) AS owner_ref,
        coalesce(given_text(room_details, '$.settings.billing_code'), rooms.billing_code) AS billing_code
    FROM call_detail_records AS records
    LEFT JOIN rooms_of_days AS rooms USING (usage_date, room_id)
    WHERE usage_date BETWEEN $first_date AND $last_date
),

owners_in_rooms AS (SELECT DISTINCT usage_date, owner_ref FROM rooms_of_days WHERE owner_ref IS NOT NULL),

codes_in_rooms AS (SELECT DISTINCT usage_date, billing_code FROM rooms_of_days WHERE billing_code IS NOT NULL)

SELECT
    usage_date,
    nullif(app_id, '') AS app_id,
    owner_ref,
    billing_code,
    owners_in_rooms.owner_ref IS NOT NULL AS owner_is_in_rooms,
    codes_in_rooms.billing_code IS NOT NULL AS billing_code_is_in_rooms,
    count(*) AS connections,
    count(DISTINCT nullif(conf_num, '')) AS conferences,
    count(DISTINCT nullif(records.room_id, '')) AS rooms,
    count(DISTINCT person(user_ref, user_name, cdr_id)) AS participants,
    minutes(coalesce(sum(room_duration_s), 0)) AS participant_minutes,
    sum_of_whole_minutes(sum(minutes_begun(room_duration_s))) AS billable_minutes,
    sum_of_minutes(sum(subscribed_minutes)) AS subscribed_minutes,
    sum_of_minutes(sum(published_minutes)) AS published_minutes
FROM records
LEFT JOIN owners_in_rooms USING (usage_date, owner_ref)
LEFT JOIN codes_in_rooms USING (usage_date, billing_code)
GROUP BY ALL;
