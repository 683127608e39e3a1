-- Which UTC days of daily_usage depend on a day's records: those that their connections overlap, and those on which connections
-- of records before and after this day meet, since a record between them can make one conference of two.
CREATE TABLE reached_days (
    usage_date DATE,                         -- UTC day of the records
    reached_date DATE                        -- UTC day whose sums depend on them
);
