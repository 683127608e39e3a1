-- The exports that may show people in clear. Earlier versions did not note it of findings.
SELECT asset, usage_date
FROM build_log
WHERE fingerprint LIKE '%-clear'
   OR (asset = 'check_findings' AND fingerprint IN ('clear', ''));
