-- No row of attendance, with its columns.
SELECT * FROM attendance LIMIT 0;
