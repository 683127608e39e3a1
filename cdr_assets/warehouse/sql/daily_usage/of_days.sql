FROM daily_usage WHERE usage_date IN (SELECT unnest($usage_dates)) ORDER BY usage_date, app_id;
