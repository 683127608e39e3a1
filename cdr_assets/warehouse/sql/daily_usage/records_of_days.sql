-- How many records each of the days has.
SELECT days.usage_date, count(records.usage_date) AS records
FROM (SELECT unnest($usage_dates::DATE[]) AS usage_date) AS days
LEFT JOIN call_detail_records AS records USING (usage_date)
GROUP BY days.usage_date
ORDER BY days.usage_date;
