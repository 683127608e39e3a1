-- An owner that EnableX names can be a person, by the reference that attendance hashes: it has the same hash here. An
-- owner, or a billing code, that somebody put into the file of rooms is shown.
SELECT
    * REPLACE (
        CASE
            WHEN owner_is_in_rooms OR owner_ref IS NULL THEN owner_ref
            ELSE hashed_participant($key, NULL, NULL, 'r' || owner_ref)
        END AS owner_ref,  -- hashed, unless the file of rooms names it
        CASE
            WHEN billing_code_is_in_rooms THEN billing_code
            ELSE shown_id($key, billing_code)
        END AS billing_code  -- hashed, unless it has the shape of an id or the file of rooms names it
    )
FROM owner_usage
WHERE usage_date = $usage_date;
