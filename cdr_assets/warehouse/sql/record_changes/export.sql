-- It identifies nobody. It has the values of fields that hold times, numbers and ids; of other fields it only says that
-- they changed. The name of an unknown field can be text that somebody typed.
SELECT
    * REPLACE (
        shown_field(field) AS field,  -- "another" for a field that is not known
        CASE WHEN says_nobody(field) THEN before END AS before,  -- NULL where it can name somebody
        CASE WHEN says_nobody(field) THEN after END AS after  -- NULL where it can name somebody
    )
FROM record_changes
WHERE usage_date = $usage_date;
