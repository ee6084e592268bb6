ALTER TABLE upload_trial_keys DROP COLUMN line;
