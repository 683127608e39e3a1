-- Nobody can be told from it. Values are shown of fields that hold times, numbers and ids; of the others only that they
-- changed. The name of a field that is not known can be what somebody typed.
SELECT
    * REPLACE (
        shown_field(field) AS field,  -- "another" for a field that is not known
        CASE WHEN says_nobody(field) THEN before END AS before,  -- NULL where it can name somebody
        CASE WHEN says_nobody(field) THEN after END AS after  -- NULL where it can name somebody
    )
FROM record_changes
WHERE usage_date = $usage_date;
