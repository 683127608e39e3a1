-- It has the values that are times, numbers, flags or ids where a field should have them; of others it only says that
-- they changed. The name of an unknown field can be text that somebody typed.
SELECT
    * REPLACE (
        shown_field(field) AS field,  -- "another" for a field that is not known
        shown_value(field, before) AS before,  -- NULL where it can name somebody
        shown_value(field, after) AS after  -- NULL where it can name somebody
    )
FROM record_changes
WHERE usage_date = $usage_date;
