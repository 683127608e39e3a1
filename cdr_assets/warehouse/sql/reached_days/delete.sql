DELETE FROM reached_days WHERE usage_date = $usage_date;
