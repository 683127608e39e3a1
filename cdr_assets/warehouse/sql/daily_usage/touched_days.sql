-- The UTC days whose rows may change with the day's records: itself, and those that its connections overlap, or did when
-- the table was last built. A long conference that a record of the day joins together may reach further. Each with the
-- number of its own records.
WITH touched AS (
    SELECT $usage_date AS usage_date
    UNION
    SELECT reached_date FROM reached_days WHERE usage_date = $usage_date
    UNION
    SELECT reached_date
    FROM reached_days AS reached
    JOIN conference_usage AS long
        ON reached.usage_date BETWEEN long.usage_date AND long.last_usage_date
        AND long.last_usage_date > long.usage_date + 7
    WHERE $usage_date BETWEEN long.usage_date AND long.last_usage_date
)

SELECT touched.usage_date, count(records.usage_date) AS records
FROM touched
LEFT JOIN call_detail_records AS records USING (usage_date)
GROUP BY touched.usage_date
ORDER BY touched.usage_date;
