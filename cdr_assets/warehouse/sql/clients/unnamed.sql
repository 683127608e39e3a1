-- Some of the agents of the days' records whose client is not known yet, or only from older code.
SELECT DISTINCT user_agent
FROM call_detail_records
ANTI JOIN (FROM clients WHERE fingerprint = $fingerprint) AS named USING (user_agent)
WHERE usage_date BETWEEN $first_date AND $last_date
  AND user_agent <> ''
LIMIT $agents_at_once;
