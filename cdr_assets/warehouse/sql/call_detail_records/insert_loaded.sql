INSERT INTO call_detail_records FROM loaded_records;
