INSERT INTO call_detail_records FROM renewed_rows;
