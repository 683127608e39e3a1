-- One row per check and UTC day with an open or acknowledged finding, none for a clean day.
CREATE TABLE check_findings (
    usage_date DATE,                         -- UTC day that the finding is about
    asset VARCHAR,                           -- asset that the check is on
    check_name VARCHAR,                      -- check, named for what is true when it is green
    count BIGINT,                            -- rows or records that contradict the check
    sample JSON,                             -- up to 10 of them, a list of objects
    found_at TIMESTAMP,                      -- when this finding was first seen, UTC
    last_seen_at TIMESTAMP,                  -- when the day was last looked at, UTC
    acknowledged_at TIMESTAMP,               -- when a person acknowledged it, UTC; NULL while it is open
    note VARCHAR                             -- what that person wrote
);
