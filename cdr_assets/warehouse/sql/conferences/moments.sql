-- Every moment at which somebody enters or leaves a conference of the slice, and who is there until the next moment. At
-- one instant, leaves come before entries. If a person has several connections, each of them is counted too. Everybody
-- has a number, and these are added up: while one person is alone, the sum is that person's number.
CREATE OR REPLACE TEMP TABLE moments AS
WITH entries AS (
    SELECT conference_number, person_number, is_moderator, 1 AS people, connections, enters, leaves FROM presences
    UNION ALL
    SELECT conference_number, NULL, false, 0, 1, epoch_us(enters), epoch_us(leaves) FROM several_stays
),

steps AS (
    SELECT *, enters AS moment, 1 AS step FROM entries
    UNION ALL
    SELECT *, leaves, -1 FROM entries
)

SELECT
    conference_number,
    person_number,
    is_moderator,
    moment,
    step,
    sum(step * connections) OVER in_order AS connections,
    sum(step * people) OVER in_order AS people,
    sum(step * is_moderator::INTEGER) OVER in_order AS moderators,
    sum(step * person_number) OVER in_order AS sum_of_numbers,
    lead(moment, 1, moment) OVER in_order - moment AS lasts
FROM steps
WINDOW in_order AS (PARTITION BY conference_number ORDER BY moment, step ROWS UNBOUNDED PRECEDING);
