-- When each person was there, in microseconds: connections that overlap or touch are one presence. Few people have more
-- than one connection, and only theirs are joined.
CREATE OR REPLACE TEMP TABLE presences AS
WITH in_order AS (
    SELECT *, max(leaves) OVER (
        PARTITION BY person_number ORDER BY enters, leaves ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS left_before
    FROM several_stays
),

numbered AS (
    SELECT *, count_if(coalesce(left_before < enters, false)) OVER (
        PARTITION BY person_number ORDER BY enters, leaves ROWS UNBOUNDED PRECEDING
    ) AS returns
    FROM in_order
)

SELECT
    conference_number,
    person_number,
    is_moderator,
    1 AS connections,
    epoch_us(enters) AS enters,
    epoch_us(leaves) AS leaves,
    0::BIGINT AS absent_before
FROM people
WHERE stays = 1
UNION ALL
SELECT
    any_value(conference_number),
    person_number,
    any_value(is_moderator),
    0,
    min(epoch_us(enters)),
    max(epoch_us(leaves)),
    coalesce(max(epoch_us(enters) - epoch_us(left_before)) FILTER (left_before < enters), 0)
FROM numbered
GROUP BY person_number, returns;
