-- Removes the rows of the touched conferences, in the transaction that writes them again.
DELETE FROM conference_usage
USING touched_conferences AS touched
WHERE conference_usage.conf_num IS NOT DISTINCT FROM touched.conf_num
  AND conference_usage.app_id IS NOT DISTINCT FROM touched.app_id
  AND conference_usage.usage_date <= touched.last_date
  AND conference_usage.last_usage_date >= touched.first_date;
