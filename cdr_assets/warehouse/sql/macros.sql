-- Macros that several tables share. Temporary, so every connection makes them again.

-- A time given as text, in UTC; NULL if it is not a time. A plain cast to TIMESTAMP would silently drop an offset, and
-- one to TIMESTAMPTZ would read a time without an offset in the session's own zone.
-- Only a text that begins with a year of four digits is tried: for DuckDB 'infinity', 'now' and the year 20261 are times,
-- which readers of the tables cannot hold. The text is looked at, since a check of the time would plan the CASE twice.
CREATE OR REPLACE TEMP MACRO utc(given) AS CASE
    WHEN given NOT LIKE '____-%' THEN NULL
    WHEN given LIKE '%Z' THEN try_cast(given AS TIMESTAMP)
    WHEN regexp_matches(given, ':\d\d(\.\d+)?[+-]\d\d(:?\d\d)?$')
        THEN make_timestamp(epoch_us(try_cast(upper(given) AS TIMESTAMPTZ)))
    ELSE try_cast(upper(given) AS TIMESTAMP)
END;

-- A time in seconds or in minutes; NULL if it is negative or longer than 31 days, so that no sum overflows its column.
CREATE OR REPLACE TEMP MACRO within_31_days_s(seconds) AS CASE WHEN seconds BETWEEN 0 AND 2_678_400 THEN seconds END;
CREATE OR REPLACE TEMP MACRO within_31_days_min(minutes) AS CASE WHEN minutes BETWEEN 0 AND 44_640 THEN minutes END;

-- Whose connection a record is: the user's reference, else the name, else the record itself.
CREATE OR REPLACE TEMP MACRO participant(user_ref, user_name, cdr_id) AS
    coalesce(nullif(user_ref, ''), nullif(user_name, ''), cdr_id);

-- Minutes of a sum of seconds, rounded once, half up, to 0.001; NULL if they do not fit the column.
CREATE OR REPLACE TEMP MACRO minutes(seconds) AS try_cast(
    try_cast(((seconds * 1000)::HUGEINT + 30) // 60 AS DECIMAL(18,0)) * 0.001 AS DECIMAL(18,3)
);

-- Minutes of one connection, rounded up.
CREATE OR REPLACE TEMP MACRO minutes_begun(seconds) AS (greatest(ceil(seconds)::BIGINT, 0) + 59) // 60;

-- A sum as a column of minutes or of whole minutes; 0 for no values, NULL if it does not fit the column.
CREATE OR REPLACE TEMP MACRO sum_of_minutes(total) AS try_cast(coalesce(total, 0) AS DECIMAL(18,3));
CREATE OR REPLACE TEMP MACRO sum_of_whole_minutes(total) AS try_cast(coalesce(total, 0) AS BIGINT);

-- The name of a field whose text did not fit its type, else NULL. An empty text is no value, so nothing is lost with it.
CREATE OR REPLACE TEMP MACRO lost(name, given, typed) AS CASE WHEN given <> '' AND typed IS NULL THEN name END;
