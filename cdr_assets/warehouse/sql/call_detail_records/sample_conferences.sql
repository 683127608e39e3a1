-- Conferences of the day, at random.
SELECT conf_num AS subject
FROM (
    SELECT DISTINCT conf_num
    FROM call_detail_records
    WHERE usage_date = $usage_date
      AND conf_num <> ''
)
ORDER BY random()
LIMIT $sample;
