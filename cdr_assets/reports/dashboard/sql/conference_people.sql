-- The people of a conference, moderators first, in the order in which they came.
SELECT *, coalesce(lower(user_role) = 'moderator', false) AS is_moderator
FROM attendance
WHERE conf_num = $conf_num
  AND app_id IS NOT DISTINCT FROM $app_id
  AND usage_date = $usage_date
ORDER BY is_moderator DESC, first_connect_dt, participant;
