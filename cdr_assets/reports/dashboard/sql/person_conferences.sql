-- The newest conferences of a person, at most $most, each with the sums over all of them.
WITH attended AS (
    SELECT
        count(*) AS all_conferences,
        sum(presence_minutes)::DECIMAL(18,3) AS all_presence_minutes,
        sum(alone_minutes)::DECIMAL(18,3) AS all_alone_minutes,
        sum(rejoins)::BIGINT AS all_rejoins,
        sum(connections)::BIGINT AS all_connections,
        min(usage_date) AS first_date,
        max(last_usage_date) AS last_date,
        coalesce(map_entries(histogram(client)), []) AS clients,
        count_if(participant_known_by = 'user_name') AS known_by_name,
        count_if(participant_known_by = 'cdr_id') AS known_by_nothing,
        -- One aggregate holds no more rows than are shown, however many there are.
        max_by(
            {
                conf_num: conf_num,
                first_connect_dt: first_connect_dt,
                room_id: room_id,
                user_role: user_role,
                presence_minutes: presence_minutes,
                share: share,
                rejoins: rejoins,
                alone_minutes: alone_minutes,
                with_moderator_minutes: with_moderator_minutes,
                client: client
            },
            coalesce(first_connect_dt, usage_date),
            $most
        ) AS newest
    FROM attendance
    WHERE participant = $participant
)

SELECT * EXCLUDE (newest), unnest(newest, recursive := true)
FROM attended;
