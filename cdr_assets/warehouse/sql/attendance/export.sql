-- Nobody can be told from it without the key: a person is a keyed hash, the same one in every conference for a user_ref.
SELECT
    * EXCLUDE (user_name) REPLACE (
        hashed_participant($key, app_id, conf_num, person_known_by(participant_known_by, participant)) AS participant,  -- hashed
        shown_role(user_role) AS user_role  -- "other" for one that is not known
    )
FROM attendance
WHERE usage_date = $usage_date;
