-- Each compared record: the day and the request of its newest line, and what is known of its versions.
CREATE OR REPLACE TEMP TABLE newest_versions AS
SELECT
    cdr_id,
    arg_max(usage_date, place) AS usage_date,
    arg_max(request, place) AS request,
    arg_min(landed_at, place) AS first_landed_at,
    arg_max(landed_at, place) FILTER (is_new) AS landed_at,
    max(version) AS versions
FROM landed_versions
GROUP BY cdr_id;
