-- The records of the busiest rooms of the day, the busiest first.
SELECT room_id AS subject, cdr_id, room_duration_s
FROM (
    SELECT room_id, count(*) AS connections
    FROM call_detail_records
    WHERE usage_date = $usage_date
      AND is_id(room_id)  -- anything else can name somebody, and would stand in an address
    GROUP BY room_id
    ORDER BY connections DESC, room_id
    LIMIT $sample
)
JOIN call_detail_records USING (room_id)
WHERE usage_date = $usage_date
ORDER BY connections DESC, room_id;
