-- Every owner and every billing code of the period, in order; '' is what has none.
SELECT
    list(DISTINCT coalesce(owner_ref, '') ORDER BY coalesce(owner_ref, '')) AS owners,
    list(DISTINCT coalesce(billing_code, '') ORDER BY coalesce(billing_code, '')) AS codes
FROM owner_usage;
