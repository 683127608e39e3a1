-- Where landed records are typed before they are put into the table, if the order of their lines must be known: only DuckDB's
-- own tables keep it.
CREATE OR REPLACE TEMP TABLE loaded_records AS FROM call_detail_records LIMIT 0;
