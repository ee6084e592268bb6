COMMENT ON COLUMN upload_trial_keys.transaction_id IS NULL;

-- Uploads of stocks may be there: only new ones are refused.
ALTER TABLE uploads
    DROP CONSTRAINT uploads_kind_check,
    ADD CONSTRAINT uploads_kind_check CHECK (kind IN ('transactions', 'clients')) NOT VALID;
