-- Types the records that landed for one UTC day. Every scalar is read as text, so a value that does not fit its type
-- costs no other: it becomes NULL and is named in lost_fields. To try it in a DuckDB shell, run macros.sql, then replace
-- $files with a list of files, $landed_ats with the times of the requests that brought them, and $usage_date with a date.
-- Of a record that landed more than once, every version is added.
INSERT INTO call_detail_records BY NAME
WITH landed AS (
    SELECT * EXCLUDE (filename), list_position($files, filename) AS file_number
    FROM read_json(
        $files,
        filename = true,
        format = 'newline_delimited',
        compression = 'zstd',
        ignore_errors = true,
        columns = {
            'trans_date': 'VARCHAR',
            'conf_num': 'VARCHAR',
            'call_num': 'VARCHAR',
            'call_log_id': 'VARCHAR',
            'room': 'STRUCT(
                room_id VARCHAR, connect_dt VARCHAR, disconnect_dt VARCHAR, duration VARCHAR,
                sip VARCHAR, room_details JSON)',
            'user': 'STRUCT(
                ref VARCHAR, name VARCHAR, role VARCHAR, ip VARCHAR, agent VARCHAR, confName VARCHAR)',
            'sigserver': 'STRUCT(
                ip VARCHAR, connect_dt VARCHAR, disconnect_dt VARCHAR, duration VARCHAR, hold_duration VARCHAR)',
            'published_track': 'STRUCT(
                audio VARCHAR, data VARCHAR, video VARCHAR, screen VARCHAR, url VARCHAR)',
            'usage': 'STRUCT(
                subscribed_minutes VARCHAR, published_minutes VARCHAR, screen_minutes VARCHAR,
                connect_minutes VARCHAR, connect_minutes_cal VARCHAR, room_connect_minutes VARCHAR)',
            'app_id': 'VARCHAR',
            'cdr_id': 'VARCHAR',
            'sip': 'VARCHAR',
            'parent_partner_id': 'VARCHAR',
            'stats_quality': 'JSON',
            'price': 'JSON'
        }
    )
),

-- One name per field.
given AS (
    SELECT
        $landed_ats[file_number] AS landed_at,
        cdr_id,
        app_id,
        conf_num,
        call_num,
        call_log_id,
        parent_partner_id,
        stats_quality,
        price,
        trans_date,
        room.room_id AS room_id,
        room.connect_dt AS room_connect_dt,
        room.disconnect_dt AS room_disconnect_dt,
        room.duration AS room_duration_s,
        room.room_details AS room_details,
        "user".ref AS user_ref,
        "user".name AS user_name,
        "user".role AS user_role,
        "user".ip AS user_ip,
        "user".agent AS user_agent,
        "user".confName AS conf_name,
        sigserver.ip AS sigserver_ip,
        sigserver.connect_dt AS sigserver_connect_dt,
        sigserver.disconnect_dt AS sigserver_disconnect_dt,
        sigserver.duration AS sigserver_duration_s,
        sigserver.hold_duration AS hold_duration_s,
        published_track.audio AS published_audio,
        published_track.data AS published_data,
        published_track.video AS published_video,
        published_track.screen AS published_screen,
        published_track.url AS published_url,
        usage.subscribed_minutes AS subscribed_minutes,
        usage.published_minutes AS published_minutes,
        usage.screen_minutes AS screen_minutes,
        usage.connect_minutes AS connect_minutes,
        usage.connect_minutes_cal AS connect_minutes_cal,
        usage.room_connect_minutes AS room_connect_minutes,
        coalesce(nullif(sip, ''), nullif(room.sip, '')) AS sip,
        -- The part is there, but no known field was found in it: it is an empty object, or not an object.
        room IS NOT NULL AND coalesce(
            room.room_id, room.connect_dt, room.disconnect_dt, room.duration, room.sip, room.room_details::VARCHAR
        ) IS NULL AS bare_room,
        "user" IS NOT NULL AND coalesce(
            "user".ref, "user".name, "user".role, "user".ip, "user".agent, "user".confName
        ) IS NULL AS bare_user,
        sigserver IS NOT NULL AND coalesce(
            sigserver.ip, sigserver.connect_dt, sigserver.disconnect_dt, sigserver.duration, sigserver.hold_duration
        ) IS NULL AS bare_sigserver,
        published_track IS NOT NULL AND coalesce(
            published_track.audio, published_track.data, published_track.video, published_track.screen,
            published_track.url
        ) IS NULL AS bare_published_track,
        usage IS NOT NULL AND coalesce(
            usage.subscribed_minutes, usage.published_minutes, usage.screen_minutes, usage.connect_minutes,
            usage.connect_minutes_cal, usage.room_connect_minutes
        ) IS NULL AS bare_usage
    FROM landed
),

typed AS (
    SELECT
        *,
        utc(trans_date) AS typed_trans_date,
        utc(room_connect_dt) AS typed_room_connect_dt,
        utc(room_disconnect_dt) AS typed_room_disconnect_dt,
        utc(sigserver_connect_dt) AS typed_sigserver_connect_dt,
        utc(sigserver_disconnect_dt) AS typed_sigserver_disconnect_dt,
        try_cast(room_duration_s AS DECIMAL(18,3)) AS typed_room_duration_s,
        try_cast(sigserver_duration_s AS DECIMAL(18,3)) AS typed_sigserver_duration_s,
        try_cast(hold_duration_s AS DECIMAL(18,3)) AS typed_hold_duration_s,
        try_cast(subscribed_minutes AS DECIMAL(18,3)) AS typed_subscribed_minutes,
        try_cast(published_minutes AS DECIMAL(18,3)) AS typed_published_minutes,
        try_cast(screen_minutes AS DECIMAL(18,3)) AS typed_screen_minutes,
        try_cast(connect_minutes AS DECIMAL(18,3)) AS typed_connect_minutes,
        try_cast(connect_minutes_cal AS DECIMAL(18,3)) AS typed_connect_minutes_cal,
        try_cast(room_connect_minutes AS DECIMAL(18,3)) AS typed_room_connect_minutes,
        try_cast(published_audio AS BOOLEAN) AS typed_published_audio,
        try_cast(published_data AS BOOLEAN) AS typed_published_data,
        try_cast(published_video AS BOOLEAN) AS typed_published_video,
        try_cast(published_screen AS BOOLEAN) AS typed_published_screen,
        try_cast(published_url AS BOOLEAN) AS typed_published_url,
        try_cast(sip AS BOOLEAN) AS typed_sip
    FROM given
),

dated AS (
    SELECT * REPLACE (
        near_trans_date(typed_room_connect_dt, typed_trans_date) AS typed_room_connect_dt,
        near_trans_date(typed_room_disconnect_dt, typed_trans_date) AS typed_room_disconnect_dt,
        near_trans_date(typed_sigserver_connect_dt, typed_trans_date) AS typed_sigserver_connect_dt,
        near_trans_date(typed_sigserver_disconnect_dt, typed_trans_date) AS typed_sigserver_disconnect_dt
    )
    FROM typed
),

timed AS (
    SELECT
        * REPLACE (
            within_31_days_s(typed_sigserver_duration_s) AS typed_sigserver_duration_s,
            within_31_days_s(typed_hold_duration_s) AS typed_hold_duration_s,
            within_31_days_min(typed_subscribed_minutes) AS typed_subscribed_minutes,
            within_31_days_min(typed_published_minutes) AS typed_published_minutes,
            within_31_days_min(typed_screen_minutes) AS typed_screen_minutes,
            within_31_days_min(typed_connect_minutes) AS typed_connect_minutes,
            within_31_days_min(typed_connect_minutes_cal) AS typed_connect_minutes_cal,
            within_31_days_min(typed_room_connect_minutes) AS typed_room_connect_minutes
        ),
        coalesce(
            typed_room_duration_s,
            try_cast(
                (epoch_us(typed_room_disconnect_dt)::HUGEINT - epoch_us(typed_room_connect_dt)) * 0.000001
                AS DECIMAL(18,3)
            )
        ) AS time_in_room_s
    FROM dated
)

SELECT
    $usage_date AS usage_date,
    landed_at AS first_landed_at,
    landed_at,
    1 AS versions,
    cdr_id,
    kept(app_id) AS app_id,
    kept(conf_num) AS conf_num,
    kept(call_num) AS call_num,
    kept(call_log_id) AS call_log_id,
    kept(room_id) AS room_id,
    kept(room_details) AS room_details,
    kept(user_ref) AS user_ref,
    kept(user_name) AS user_name,
    kept(user_role) AS user_role,
    kept(user_ip) AS user_ip,
    kept(user_agent) AS user_agent,
    kept(conf_name) AS conf_name,
    kept(sigserver_ip) AS sigserver_ip,
    kept(parent_partner_id) AS parent_partner_id,
    kept(stats_quality) AS stats_quality,
    kept(price) AS price,
    typed_trans_date AS trans_date,
    typed_room_connect_dt AS room_connect_dt,
    typed_room_disconnect_dt AS room_disconnect_dt,
    typed_sigserver_connect_dt AS sigserver_connect_dt,
    typed_sigserver_disconnect_dt AS sigserver_disconnect_dt,
    within_31_days_s(time_in_room_s) AS room_duration_s,
    typed_sigserver_duration_s AS sigserver_duration_s,
    typed_hold_duration_s AS hold_duration_s,
    typed_subscribed_minutes AS subscribed_minutes,
    typed_published_minutes AS published_minutes,
    typed_screen_minutes AS screen_minutes,
    typed_connect_minutes AS connect_minutes,
    typed_connect_minutes_cal AS connect_minutes_cal,
    typed_room_connect_minutes AS room_connect_minutes,
    typed_published_audio AS published_audio,
    typed_published_data AS published_data,
    typed_published_video AS published_video,
    typed_published_screen AS published_screen,
    typed_published_url AS published_url,
    typed_sip AS sip,
    nullif(concat_ws(
        ', ',
        CASE WHEN bare_room THEN 'room' END,
        CASE WHEN bare_user THEN 'user' END,
        CASE WHEN bare_sigserver THEN 'sigserver' END,
        CASE WHEN bare_published_track THEN 'published_track' END,
        CASE WHEN bare_usage THEN 'usage' END,
        too_long('app_id', app_id),
        too_long('conf_num', conf_num),
        too_long('call_num', call_num),
        too_long('call_log_id', call_log_id),
        too_long('room_id', room_id),
        too_long('room_details', room_details),
        too_long('user_ref', user_ref),
        too_long('user_name', user_name),
        too_long('user_role', user_role),
        too_long('user_ip', user_ip),
        too_long('user_agent', user_agent),
        too_long('conf_name', conf_name),
        too_long('sigserver_ip', sigserver_ip),
        too_long('parent_partner_id', parent_partner_id),
        too_long('stats_quality', stats_quality),
        too_long('price', price),
        lost('trans_date', trans_date, typed_trans_date),
        lost('room_connect_dt', room_connect_dt, typed_room_connect_dt),
        lost('room_disconnect_dt', room_disconnect_dt, typed_room_disconnect_dt),
        lost('sigserver_connect_dt', sigserver_connect_dt, typed_sigserver_connect_dt),
        lost('sigserver_disconnect_dt', sigserver_disconnect_dt, typed_sigserver_disconnect_dt),
        coalesce(
            lost('room_duration_s', room_duration_s, typed_room_duration_s),
            CASE WHEN time_in_room_s IS NOT NULL AND within_31_days_s(time_in_room_s) IS NULL THEN 'room_duration_s' END
        ),
        lost('sigserver_duration_s', sigserver_duration_s, typed_sigserver_duration_s),
        lost('hold_duration_s', hold_duration_s, typed_hold_duration_s),
        lost('subscribed_minutes', subscribed_minutes, typed_subscribed_minutes),
        lost('published_minutes', published_minutes, typed_published_minutes),
        lost('screen_minutes', screen_minutes, typed_screen_minutes),
        lost('connect_minutes', connect_minutes, typed_connect_minutes),
        lost('connect_minutes_cal', connect_minutes_cal, typed_connect_minutes_cal),
        lost('room_connect_minutes', room_connect_minutes, typed_room_connect_minutes),
        lost('published_audio', published_audio, typed_published_audio),
        lost('published_data', published_data, typed_published_data),
        lost('published_video', published_video, typed_published_video),
        lost('published_screen', published_screen, typed_published_screen),
        lost('published_url', published_url, typed_published_url),
        lost('sip', sip, typed_sip)
    ), '') AS lost_fields
FROM timed;
