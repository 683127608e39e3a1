-- What the file of rooms says of the UTC day.
CREATE OR REPLACE TEMP TABLE rooms_of_day AS
SELECT
    unnest($room_ids::VARCHAR[]) AS room_id,
    unnest($owner_refs::VARCHAR[]) AS owner_ref,
    unnest($billing_codes::VARCHAR[]) AS billing_code;
