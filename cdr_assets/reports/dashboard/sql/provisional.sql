-- Whether figures of the days may still change. A day that is not built may.
SELECT coalesce(bool_or(provisional), true) AS provisional
FROM daily_usage;
