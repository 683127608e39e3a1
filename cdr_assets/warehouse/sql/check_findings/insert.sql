-- Adds a finding.
INSERT INTO check_findings BY NAME
SELECT
    $usage_date AS usage_date,
    $asset AS asset,
    $check_name AS check_name,
    $count AS count,
    $sample AS sample,
    $found_at AS found_at,
    $last_seen_at AS last_seen_at,
    $acknowledged_at AS acknowledged_at,
    $note AS note;
