-- The days from `$first_date` to `$last_date` on which a table is built.
SELECT usage_date
FROM build_log
WHERE asset = $asset
  AND usage_date BETWEEN $first_date AND $last_date;
