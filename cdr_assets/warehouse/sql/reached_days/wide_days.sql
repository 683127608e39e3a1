-- The summed days on which connections of one conf_num meet whose records are more than 7 days apart, and from when to when
-- a record can make one conference of two.
SELECT usage_date AS reached_date, min(record_date) + 1 AS first_date, max(record_date) - 1 AS last_date
FROM day_stays
WHERE conf_num IN (SELECT conf_num FROM day_stays WHERE abs(usage_date - record_date) > 3)
GROUP BY usage_date, app_id, conf_num
HAVING last_date > first_date + 5;
