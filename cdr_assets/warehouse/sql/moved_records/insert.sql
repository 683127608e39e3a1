-- The days of the compared records under which they are not.
INSERT INTO moved_records BY NAME
SELECT DISTINCT landed.usage_date, landed.cdr_id, newest.request
FROM landed_versions AS landed
JOIN newest_versions AS newest USING (cdr_id)
WHERE landed.usage_date <> newest.usage_date;
