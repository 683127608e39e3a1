-- Macros that several tables share. Temporary, so every connection makes them again.

-- A time given as text, in UTC; NULL if it is not a time. These forms are times, and no others:
--     2026-03-14    2026-03-14T15:30    2026-03-14T15:30:00    2026-03-14T15:30:00.123
-- with a space for the T, in small letters, and with a Z or an offset behind the clock time, after a space or not: +05,
-- +0530, +05:30 or +05:30:00. Without an offset it is UTC. Casts alone would do less: one to TIMESTAMP drops an offset and
-- what else it does not know, and one to TIMESTAMPTZ reads a time without an offset in the session's own zone. Years before
-- Christ and after 9999 are for near_trans_date; a trans_date with one is quarantined before it lands.
CREATE OR REPLACE TEMP MACRO utc(given) AS CASE
    WHEN given LIKE '____-__-__T__:__:__.___Z' AND given NOT LIKE '% %' THEN try_cast(given AS TIMESTAMP)
    WHEN regexp_full_match(given, '\s*\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?[Zz])?)?\s*')
        THEN try_cast(rtrim(upper(given), 'Z ') AS TIMESTAMP)
    WHEN regexp_full_match(
        given, '\s*\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)? ?[+-]([01]\d|2[0-3])(:?[0-5]\d|:[0-5]\d:[0-5]\d)?\s*'
    -- DuckDB 1.5 reads no offset behind a space, nor behind a clock time without seconds.
    ) THEN make_timestamp(epoch_us(try_cast(regexp_replace(
        regexp_replace(upper(trim(given)), ' ([+-])', '\1'), '([T ]\d\d:\d\d)([+-])', '\1:00\2'
    ) AS TIMESTAMPTZ)))
END;

-- A time of a record, whose clock may be wrong: NULL if it lies more than half a year from the record's own trans_date, or
-- where readers of the tables cannot hold it. So no connection is longer than a year.
CREATE OR REPLACE TEMP MACRO near_trans_date(moment, trans_date) AS CASE
    WHEN abs(epoch_us(moment) - epoch_us(trans_date)) <= 183 * 86_400_000_000
        AND moment BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999'
        THEN moment
END;

-- Whether a connection with these times is somebody's presence.
CREATE OR REPLACE TEMP MACRO has_presence(connect_dt, disconnect_dt) AS connect_dt < disconnect_dt;

-- The last UTC day that a connection overlaps. One that ends at midnight does not overlap the day that begins.
CREATE OR REPLACE TEMP MACRO last_day_of(disconnect_dt) AS (disconnect_dt - INTERVAL 1 MICROSECOND)::DATE;

-- A time in seconds or in minutes; NULL if it is negative or longer than 31 days, so that no sum overflows its column.
CREATE OR REPLACE TEMP MACRO within_31_days_s(seconds) AS CASE WHEN seconds BETWEEN 0 AND 2_678_400 THEN seconds END;
CREATE OR REPLACE TEMP MACRO within_31_days_min(minutes) AS CASE WHEN minutes BETWEEN 0 AND 44_640 THEN minutes END;

-- Minutes of a sum of seconds, rounded once, half up, to 0.001; NULL if they do not fit the column.
CREATE OR REPLACE TEMP MACRO minutes(seconds) AS try_cast(
    try_cast(((seconds * 1000)::HUGEINT + 30) // 60 AS DECIMAL(18,0)) * 0.001 AS DECIMAL(18,3)
);

-- Minutes, seconds and a share of 1, of whole microseconds, rounded once, half up, to 0.001.
CREATE OR REPLACE TEMP MACRO minutes_of_us(us) AS (((us)::HUGEINT + 30_000) // 60_000)::DECIMAL(18,0) * 0.001;
CREATE OR REPLACE TEMP MACRO seconds_of_us(us) AS (((us)::HUGEINT + 500) // 1_000)::DECIMAL(18,0) * 0.001;
CREATE OR REPLACE TEMP MACRO rounded_share(part, whole) AS
    ((2_000 * (part)::HUGEINT + whole) // (2 * (whole)::HUGEINT))::DECIMAL(18,0) * 0.001;

-- Minutes of one connection, rounded up.
CREATE OR REPLACE TEMP MACRO minutes_begun(seconds) AS (greatest(ceil(seconds)::BIGINT, 0) + 59) // 60;

-- A sum as a column of minutes or of whole minutes; 0 for no values, NULL if it does not fit the column.
CREATE OR REPLACE TEMP MACRO sum_of_minutes(total) AS try_cast(coalesce(total, 0) AS DECIMAL(18,3));
CREATE OR REPLACE TEMP MACRO sum_of_whole_minutes(total) AS try_cast(coalesce(total, 0) AS BIGINT);

-- The name of a field whose text did not fit its type, else NULL. An empty text is no value, so nothing is lost with it.
CREATE OR REPLACE TEMP MACRO lost(name, given, typed) AS CASE WHEN given <> '' AND typed IS NULL THEN name END;

-- A text or JSON value; NULL if it is longer than 64 KiB: 2,048 of them, as many as DuckDB reads at a time, fit in memory.
CREATE OR REPLACE TEMP MACRO kept(given) AS CASE WHEN strlen(given) <= 65_536 THEN given END;
CREATE OR REPLACE TEMP MACRO too_long(name, given) AS CASE WHEN strlen(given) > 65_536 THEN name END;

-- One person as one text, which no other person has. In the sum of a day, a name means somebody only within its conference.
CREATE OR REPLACE TEMP MACRO person(user_ref, user_name, cdr_id) AS
    CASE WHEN user_ref <> '' THEN 'r' || user_ref WHEN user_name <> '' THEN 'n' || user_name ELSE 'c' || cdr_id END;
CREATE OR REPLACE TEMP MACRO person_of_day(user_ref, user_name, cdr_id, conf_num) AS CASE
    WHEN user_ref <> '' THEN 'r' || user_ref
    WHEN user_name <> '' THEN 'n' || length(coalesce(conf_num, '')) || ':' || coalesce(conf_num, '') || user_name
    ELSE 'c' || cdr_id
END;
CREATE OR REPLACE TEMP MACRO known_by(person) AS
    CASE person[1] WHEN 'r' THEN 'user_ref' WHEN 'n' THEN 'user_name' ELSE 'cdr_id' END;
CREATE OR REPLACE TEMP MACRO person_known_by(known_by, participant) AS
    CASE known_by WHEN 'user_ref' THEN 'r' WHEN 'user_name' THEN 'n' ELSE 'c' END || participant;

-- A person as text that says nothing without the key: always the same for a user_ref; for a name, within its conference.
CREATE OR REPLACE TEMP MACRO hashed_participant(key, app_id, conf_num, person) AS sha256(
    CASE WHEN person[1] = 'n'
        THEN concat_ws(':', key, 'user_name', coalesce(app_id, ''), coalesce(conf_num, ''), person[2:])
        ELSE concat_ws(':', key, known_by(person), person[2:])
    END
)[:32];

-- Whether a text has the shape of an id. People write names and addresses wherever a text can stand, ids included.
CREATE OR REPLACE TEMP MACRO is_id(given) AS regexp_full_match(given, '[A-Za-z0-9._-]{1,64}');

-- What has no such shape, as text that says nothing without the key. It is the same in every table.
CREATE OR REPLACE TEMP MACRO shown_id(key, given) AS
    CASE WHEN is_id(given) OR given = '' THEN given ELSE sha256(key || ':id:' || given)[:32] END;

CREATE OR REPLACE TEMP MACRO shown_role(user_role) AS CASE
    WHEN lower(user_role) IN ('', 'moderator', 'participant', 'viewer', 'audience') THEN user_role
    WHEN user_role IS NOT NULL THEN 'other'
END;

-- What a field of a record, as EnableX names it, has for a value; NULL if that can name somebody.
CREATE OR REPLACE TEMP MACRO kind_of_field(field) AS CASE
    WHEN field IN ('conf_num', 'app_id', 'room.room_id') THEN 'id'
    WHEN field IN ('sip', 'room.sip')
        OR regexp_full_match(field, 'published_track\.(audio|data|video|screen|url)') THEN 'flag'
    WHEN regexp_full_match(field, 'trans_date|(room|sigserver)\.(connect_dt|disconnect_dt)') THEN 'time'
    WHEN regexp_full_match(
        field,
        '(room|sigserver)\.duration|sigserver\.hold_duration'
        || '|usage\.(subscribed_minutes|published_minutes|screen_minutes|connect_minutes|connect_minutes_cal'
        || '|room_connect_minutes)'
    ) THEN 'number'
END;

-- A field's value where it is what the field should have, else NULL: people write names and addresses into any field. A
-- number is one of up to 31 days in seconds: more digits can be somebody's telephone.
CREATE OR REPLACE TEMP MACRO shown_value(field, given) AS CASE WHEN CASE kind_of_field(field)
    WHEN 'id' THEN is_id(given)
    WHEN 'flag' THEN regexp_full_match(given, '(?i)true|false|yes|no|0|1')
    WHEN 'time' THEN regexp_full_match(
        given, '\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?)? ?(Z|[+-]\d\d(:?\d\d)?)?'
    )
    WHEN 'number' THEN regexp_full_match(given, '-?\d{1,7}(\.\d{1,9})?')
END THEN given END;

-- The name of a field, or of the known object that it lies in.
CREATE OR REPLACE TEMP MACRO shown_field(field) AS CASE
    WHEN kind_of_field(field) IS NOT NULL THEN field
    ELSE coalesce(
        nullif(
            regexp_extract(
                field,
                '^(user\.(?:ref|name|role|ip|agent|confName)|sigserver\.ip|call_num|call_log_id|parent_partner_id'
                || '|room\.room_details|stats_quality|price)(?:\.|$)',
                1
            ),
            ''
        ),
        'another'
    )
END;

-- From leaving to first landing; 0 where the clocks say that it landed before.
CREATE OR REPLACE TEMP MACRO lateness_us(first_landed_at, disconnect_dt) AS
    CASE WHEN disconnect_dt IS NOT NULL THEN greatest(epoch_us(first_landed_at) - epoch_us(disconnect_dt), 0) END;

-- A text or number at a place in a JSON value, as text; NULL if there is none, or an empty one, or something else.
CREATE OR REPLACE TEMP MACRO given_text(given, place) AS CASE
    WHEN json_type(given, place) IN ('VARCHAR', 'UBIGINT', 'BIGINT', 'DOUBLE') THEN nullif(given ->> place, '')
END;

-- The values of one part of stats_quality, as text.
CREATE OR REPLACE TEMP MACRO quality(part) AS json_transform(part, '{
    "avg_bitrate": "VARCHAR", "min_bitrate": "VARCHAR", "max_bitrate": "VARCHAR",
    "avg_quality": "VARCHAR", "avg_bitrate_quality": "VARCHAR", "good_percent": "VARCHAR", "bitrate_good_percent": "VARCHAR"
}');
CREATE OR REPLACE TEMP MACRO good_or_bad(quality) AS
    CASE lower(quality) WHEN 'good' THEN 'Good' WHEN 'bad' THEN 'Bad' END;
