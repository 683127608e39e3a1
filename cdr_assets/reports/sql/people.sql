-- The people of a conference, moderators first, in the order in which they came.
SELECT
    participant_known_by,
    participant,
    CASE
        WHEN participant_known_by = 'cdr_id' THEN 'Unnamed connection'
        WHEN $in_clear THEN coalesce(user_name, participant)
        ELSE hashed_participant($key, app_id, conf_num, person_known_by(participant_known_by, participant))[:8]
    END AS name,
    coalesce(lower(user_role) = 'moderator', false) AS is_moderator,
    CASE WHEN $in_clear THEN user_role ELSE shown_role(user_role) END AS user_role,
    client,
    connections,
    rejoins,
    first_connect_dt,
    last_disconnect_dt,
    presence_minutes,
    longest_absence_s,
    alone_minutes,
    with_moderator_minutes,
    share
FROM attendance
WHERE conf_num = $conf_num
  AND app_id IS NOT DISTINCT FROM $app_id
  AND usage_date = $usage_date
ORDER BY is_moderator DESC, first_connect_dt, name;
