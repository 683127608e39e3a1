-- The records of some conferences of the day, which are picked at random.
SELECT conf_num AS subject, cdr_id, room_duration_s
FROM (
    SELECT conf_num
    FROM (
        SELECT DISTINCT conf_num
        FROM call_detail_records
        WHERE usage_date = $usage_date
          AND is_id(conf_num)  -- anything else can name somebody, and would stand in an address
    )
    ORDER BY random()
    LIMIT $sample
)
JOIN call_detail_records USING (conf_num)
WHERE usage_date = $usage_date;
