-- The UTC days whose rows may change with the records of the days from $first_date to $last_date: those that their
-- connections overlap. A long conference that one of their records joins together may reach further.
SELECT reached_date AS usage_date
FROM reached_days
WHERE usage_date BETWEEN $first_date AND $last_date
UNION
SELECT reached_date
FROM reached_days AS reached
JOIN conference_usage AS long
    ON reached.usage_date BETWEEN long.usage_date AND long.last_usage_date
    AND long.last_usage_date > long.usage_date + 7
WHERE long.usage_date <= $last_date
  AND long.last_usage_date >= $first_date;
