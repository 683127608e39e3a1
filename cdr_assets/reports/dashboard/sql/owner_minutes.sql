-- Participant minutes per owner and billing code, one number for every $step_days days of the period, in order. Only of
-- the owners in $owners; '' is what has none.
WITH minutes AS (
    SELECT
        owner_ref,
        billing_code,
        (usage_date - $first_date::DATE) // $step_days * $step_days AS step,
        sum(participant_minutes)::DOUBLE AS minutes
    FROM owner_usage
    WHERE coalesce(owner_ref, '') IN (SELECT unnest($owners::VARCHAR[]))
    GROUP BY ALL
),

steps AS (
    SELECT unnest(generate_series(0, $last_date::DATE - $first_date::DATE, $step_days::BIGINT)) AS step
)

SELECT
    pairs.owner_ref,
    pairs.billing_code,
    list(coalesce(minutes.minutes, 0) ORDER BY steps.step) AS minutes
FROM (SELECT DISTINCT owner_ref, billing_code FROM minutes) AS pairs
CROSS JOIN steps
LEFT JOIN minutes
    ON minutes.owner_ref IS NOT DISTINCT FROM pairs.owner_ref
    AND minutes.billing_code IS NOT DISTINCT FROM pairs.billing_code
    AND minutes.step = steps.step
GROUP BY ALL;
