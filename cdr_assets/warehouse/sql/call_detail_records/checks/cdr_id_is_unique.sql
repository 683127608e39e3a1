-- Records whose cdr_id is in the table a second time, on their own day or within 7 days of it.
WITH looked_at AS (
    SELECT usage_date, cdr_id FROM call_detail_records WHERE usage_date BETWEEN $first_date AND $last_date
),

-- Of the days around them only what repeats a cdr_id is read: there can be many more records than are looked at.
repeated AS (
    SELECT cdr_id FROM looked_at GROUP BY cdr_id HAVING count(*) > 1
    UNION
    SELECT cdr_id
    FROM call_detail_records
    WHERE usage_date BETWEEN $first_date::DATE - 7 AND $last_date::DATE + 7
      AND usage_date NOT BETWEEN $first_date AND $last_date
      AND cdr_id IN (SELECT cdr_id FROM looked_at)
),

found AS MATERIALIZED (
    SELECT usage_date, cdr_id
    FROM call_detail_records
    WHERE usage_date BETWEEN $first_date::DATE - 7 AND $last_date::DATE + 7
      AND cdr_id IN (FROM repeated)
)

SELECT
    days.usage_date,
    cdr_id,
    string_agg(found.usage_date::VARCHAR, ', ' ORDER BY found.usage_date) AS usage_dates
FROM (SELECT DISTINCT usage_date, cdr_id FROM found WHERE usage_date BETWEEN $first_date AND $last_date) AS days
JOIN found USING (cdr_id)
WHERE found.usage_date BETWEEN days.usage_date - 7 AND days.usage_date + 7
GROUP BY days.usage_date, cdr_id
HAVING count(*) > 1;
