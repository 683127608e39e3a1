-- It identifies nobody without the key. Free text and fields without a fixed shape are left out, because they can contain
-- a name. A call over SIP can contain a phone number.
SELECT
    call_detail_records.* EXCLUDE (
        call_num, call_log_id, room_details, user_ref, user_name, user_ip, user_agent, conf_name, sigserver_ip,
        stats_quality, price
    ) REPLACE (
        shown_role(user_role) AS user_role  -- "other" for one that is not known
    ),
    known_by(person(user_ref, user_name, cdr_id))::VARCHAR AS participant_known_by,  -- user_ref, user_name or cdr_id
    hashed_participant(
        $key, nullif(app_id, ''), nullif(conf_num, ''), person(user_ref, user_name, cdr_id)
    )::VARCHAR AS participant,  -- the person, as in attendance; hashed
    client::VARCHAR AS client  -- well-known browser or app, else "other app", and system; NULL if neither is known
FROM call_detail_records
LEFT JOIN clients USING (user_agent)
WHERE usage_date = $usage_date;
