-- One row per person in each conference that has a record on the day, over all the conference's days. Without a
-- conf_num nobody can say who met whom.
INSERT INTO attendance BY NAME
WITH records AS NOT MATERIALIZED (
    SELECT
        call_detail_records.rowid AS record,
        nullif(room_id, '') AS room_id,
        nullif(user_name, '') AS user_name,
        nullif(user_role, '') AS user_role,
        client
    FROM call_detail_records
    LEFT JOIN clients USING (user_agent)
    -- What this says follows from the joins with records, but spares DuckDB the rest of the table.
    WHERE usage_date BETWEEN (SELECT min(first_date) FROM conferences) AND (SELECT max(last_date) FROM conferences)
),

-- Most people have one record, which says who they are. These people have several.
named_by_several AS (
    SELECT
        person_number,
        min(records.room_id) AS room_id,
        min(user_name) AS user_name,
        min(user_role) AS user_role,
        min(client) AS client
    FROM people
    JOIN conference_records USING (conference_number, person)
    JOIN records ON records.record = conference_records.record
    WHERE connections > 1
    GROUP BY person_number
),

attended AS (
    SELECT
        people.*,
        conferences.* EXCLUDE (conference_number),
        coalesce(several.room_id, records.room_id) AS room_id,
        coalesce(several.user_name, records.user_name) AS user_name,
        coalesce(several.user_role, records.user_role) AS user_role,
        coalesce(several.client, records.client) AS client,
        coalesce(rejoins, 0) AS rejoins,
        coalesce(present_us, 0) AS present_us,
        coalesce(longest_absence_us, 0) AS longest_absence_us,
        coalesce(alone_us, 0) AS alone_us,
        coalesce(moderated_us, 0) AS moderated_us,
        coalesce(conference_us, 0) AS conference_us
    FROM people
    JOIN conferences USING (conference_number)
    JOIN records ON record = person_number
    LEFT JOIN named_by_several AS several USING (person_number)
    LEFT JOIN person_presences USING (person_number)
    LEFT JOIN (SELECT conference_number, conference_us FROM conference_presences) USING (conference_number)
)

SELECT
    first_date AS usage_date,
    last_date AS last_usage_date,
    app_id,
    conf_num,
    room_id,
    person[2:] AS participant,
    known_by(person) AS participant_known_by,
    user_name,
    CASE WHEN is_moderator THEN 'moderator' ELSE user_role END AS user_role,
    client,
    connections,
    first_connect_dt,
    last_disconnect_dt,
    minutes(room_duration_s) AS participant_minutes,
    sum_of_whole_minutes(billable_minutes) AS billable_minutes,
    CASE WHEN conf_num IS NOT NULL THEN rejoins END AS rejoins,
    CASE WHEN conf_num IS NOT NULL THEN minutes_of_us(present_us) END AS presence_minutes,
    CASE WHEN conf_num IS NOT NULL THEN seconds_of_us(longest_absence_us) END AS longest_absence_s,
    CASE WHEN conf_num IS NOT NULL THEN minutes_of_us(alone_us) END AS alone_minutes,
    CASE WHEN conf_num IS NOT NULL THEN minutes_of_us(moderated_us) END AS with_moderator_minutes,
    CASE WHEN conf_num IS NOT NULL AND conference_us > 0 THEN rounded_share(present_us, conference_us) END AS share
FROM attended;
