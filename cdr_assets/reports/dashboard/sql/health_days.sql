-- Whether each UTC day may still grow, and how late its records came, in minutes. Of several apps the latest counts.
SELECT
    usage_date,
    bool_or(provisional) AS provisional,
    (max(median_lateness_s) / 60)::DOUBLE AS median_minutes,
    (max(p95_lateness_s) / 60)::DOUBLE AS p95_minutes
FROM daily_usage
GROUP BY usage_date
ORDER BY usage_date;
