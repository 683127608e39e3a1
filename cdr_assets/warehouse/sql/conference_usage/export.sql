-- A conference's name can be that of a person.
SELECT * EXCLUDE (conf_name) FROM conference_usage WHERE usage_date = $usage_date;
