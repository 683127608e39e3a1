-- Of these, too, the versions are compared.
INSERT INTO compared_ids
SELECT cdr_id FROM repeated_ids WHERE cdr_id NOT IN (FROM compared_ids);
