-- A reference as the exports show it.
SELECT hashed_participant($key, NULL, NULL, 'r' || $user_ref) AS participant;
