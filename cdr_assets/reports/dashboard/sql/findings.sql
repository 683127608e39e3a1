-- Findings per check, those that are open and those that a person acknowledged.
SELECT
    acknowledged_at IS NULL AS is_open,
    check_name,
    asset,
    count(*) AS days,
    sum(count)::BIGINT AS records,
    min(found_at) AS since,
    list(strftime(usage_date, '%Y-%m-%d') ORDER BY usage_date) AS usage_dates
FROM check_findings
GROUP BY ALL
ORDER BY days DESC, check_name;
