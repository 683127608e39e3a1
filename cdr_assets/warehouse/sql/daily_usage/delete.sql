-- Removes the rows of the summed days, in the transaction that writes them again.
DELETE FROM daily_usage WHERE usage_date IN (SELECT usage_date FROM summed_days);
