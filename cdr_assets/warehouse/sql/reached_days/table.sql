-- Which UTC days the connections of a day's records overlap.
CREATE TABLE reached_days (
    usage_date DATE,                         -- UTC day of the records
    reached_date DATE                        -- UTC day that at least one of their connections overlaps
);
