-- One row per record and UTC day on which the record landed, but under which it is not: its newest version has another
-- trans_date.
CREATE TABLE moved_records (
    usage_date DATE,                         -- UTC day on which an older version landed
    cdr_id VARCHAR,                          -- identifies the record
    request BIGINT                           -- number of the request that brought the newest version
);
