SELECT DISTINCT reached_date FROM reached_days WHERE usage_date BETWEEN $first_date AND $last_date;
