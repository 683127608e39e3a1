-- Removes the entries of these exports: their partitions are due to be built again.
DELETE FROM build_log WHERE fingerprint LIKE '%-clear';
