-- The partition's rows make way for the new ones, in the same transaction.
DELETE FROM room_usage WHERE usage_date = $usage_date;
