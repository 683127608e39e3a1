-- A sample is made of records, and a note is what a person wrote: both can name somebody.
SELECT * EXCLUDE (sample, note) FROM check_findings WHERE usage_date = $usage_date;
