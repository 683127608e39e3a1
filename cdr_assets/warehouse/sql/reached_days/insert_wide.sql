-- The days of such records.
INSERT INTO reached_days BY NAME
SELECT unnest(generate_series(first_date, last_date, INTERVAL 1 DAY))::DATE AS usage_date, reached_date
FROM (
    SELECT
        unnest($reached_dates::DATE[]) AS reached_date,
        unnest($first_dates::DATE[]) AS first_date,
        unnest($last_dates::DATE[]) AS last_date
)
EXCEPT
FROM reached_days;
