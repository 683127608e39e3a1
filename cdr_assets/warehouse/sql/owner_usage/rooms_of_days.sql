-- What the file of rooms says of each of the UTC days.
CREATE OR REPLACE TEMP TABLE rooms_of_days AS
SELECT
    unnest($usage_dates::DATE[]) AS usage_date,
    unnest($room_ids::VARCHAR[]) AS room_id,
    unnest($owner_refs::VARCHAR[]) AS owner_ref,
    unnest($billing_codes::VARCHAR[]) AS billing_code;
