-- The UTC days that are summed in one go, and which of them are provisional.
CREATE OR REPLACE TEMP TABLE summed_days AS
SELECT unnest($usage_dates::DATE[]) AS usage_date, unnest($provisional::BOOLEAN[]) AS provisional;
