-- Samples and notes can contain names: a sample shows records, and a note is free text.
SELECT * EXCLUDE (sample, note) FROM check_findings WHERE usage_date = $usage_date;
