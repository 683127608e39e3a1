-- The partition's rows make way for the new ones, in the same transaction.
DELETE FROM call_detail_records WHERE usage_date = $usage_date;
