SELECT DISTINCT usage_date FROM changed_rows;
