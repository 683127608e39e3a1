-- Removes the entries of these tables on these days.
DELETE FROM build_log
WHERE usage_date IN $usage_dates
  AND asset IN $assets;
