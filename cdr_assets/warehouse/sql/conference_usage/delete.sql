-- The rows of the conferences that the day takes part in make way for new ones, in the same transaction.
DELETE FROM conference_usage
USING touched_conferences AS touched
WHERE conference_usage.conf_num IS NOT DISTINCT FROM touched.conf_num
  AND conference_usage.usage_date <= touched.last_date
  AND conference_usage.last_usage_date >= touched.first_date;
