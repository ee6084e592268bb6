-- The line of the first record with the id, so that one that contradicts it names both.
ALTER TABLE upload_trial_keys ADD COLUMN line bigint;
