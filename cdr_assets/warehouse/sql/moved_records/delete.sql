-- Forgets the compared records on the day and those near it, and the day's others if it was loaded as a whole.
DELETE FROM moved_records
WHERE usage_date BETWEEN $usage_date::DATE - 7 AND $usage_date::DATE + 7
  AND ((usage_date = $usage_date AND $is_whole) OR cdr_id IN (FROM compared_ids));
