-- An owner that EnableX names can be a person, by the reference that attendance hashes: it has the same hash here. An
-- owner that somebody put into the file of rooms is shown.
SELECT
    * REPLACE (
        CASE
            WHEN owner_is_in_rooms OR owner_ref IS NULL THEN owner_ref
            ELSE hashed_participant($key, NULL, NULL, 'r' || owner_ref)
        END AS owner_ref  -- hashed, unless the file of rooms names it
    )
FROM owner_usage
WHERE usage_date = $usage_date;
