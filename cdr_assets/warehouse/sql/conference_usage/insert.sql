-- One row per conference that has a record on the day, over all its days. Sums are of decimals and whole numbers, so
-- they are exact in any order, and are rounded once. Without a conf_num nobody can say who met whom.
INSERT INTO conference_usage BY NAME
WITH sums AS (
    SELECT
        conference_number,
        sum(connections)::BIGINT AS connections,
        count(*) AS participants,
        minutes(sum(room_duration_s)) AS participant_minutes,
        sum_of_whole_minutes(sum(billable_minutes)) AS billable_minutes,
        sum_of_minutes(sum(subscribed_minutes)) AS subscribed_minutes,
        sum_of_minutes(sum(published_minutes)) AS published_minutes,
        min(first_connect_dt) AS first_connect_dt,
        max(last_disconnect_dt) AS last_disconnect_dt
    FROM people
    GROUP BY conference_number
),

names AS (
    SELECT conference_number, min(room_id) AS room_id, min(conf_name) AS conf_name
    FROM conference_records
    GROUP BY conference_number
)

SELECT
    first_date AS usage_date,
    last_date AS last_usage_date,
    app_id,
    conf_num,
    names.* EXCLUDE (conference_number),
    sums.* EXCLUDE (conference_number),
    CASE WHEN conf_num IS NOT NULL THEN coalesce(rejoins, 0) END AS rejoins,
    coalesce(peak_participants, 0)::BIGINT AS peak_participants,
    CASE WHEN conf_num IS NOT NULL THEN minutes_of_us(coalesce(conference_us, 0)) END AS conference_minutes,
    CASE WHEN conf_num IS NOT NULL THEN minutes_of_us(coalesce(alone_us, 0)) END AS alone_minutes,
    CASE WHEN conf_num IS NOT NULL THEN minutes_of_us(coalesce(conference_us - alone_us, 0)) END AS met_minutes,
    CASE WHEN conf_num IS NOT NULL THEN minutes_of_us(coalesce(moderated_us, 0)) END AS moderated_minutes
FROM sums
JOIN conferences USING (conference_number)
JOIN names USING (conference_number)
LEFT JOIN conference_presences USING (conference_number);
