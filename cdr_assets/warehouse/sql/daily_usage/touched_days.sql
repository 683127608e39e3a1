-- The UTC days whose rows may change with the day's records: itself, and those that its connections overlap. A long
-- conference that a record of the day joins together may reach further.
SELECT $usage_date AS usage_date
UNION
SELECT reached_date FROM reached_days WHERE usage_date = $usage_date
UNION
SELECT reached_date
FROM reached_days AS reached
JOIN conference_usage AS long
    ON reached.usage_date BETWEEN long.usage_date AND long.last_usage_date
    AND long.last_usage_date > long.usage_date + 7
WHERE $usage_date BETWEEN long.usage_date AND long.last_usage_date;
