-- A time given as text, in UTC; NULL for what is no time. A plain cast to TIMESTAMP would drop an offset unheeded, and
-- one to TIMESTAMPTZ would take a time without an offset for the session's own zone.
CREATE OR REPLACE TEMP MACRO utc(given) AS nullif(nullif(
    CASE
        WHEN given LIKE '%Z' THEN try_cast(given AS TIMESTAMP)
        WHEN regexp_matches(given, ':\d\d(\.\d+)?[+-]\d\d(:?\d\d)?$')
            THEN make_timestamp(epoch_us(try_cast(upper(given) AS TIMESTAMPTZ)))
        ELSE try_cast(upper(given) AS TIMESTAMP)
    END,
    'infinity'::TIMESTAMP
), '-infinity'::TIMESTAMP);
