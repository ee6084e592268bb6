-- Stocks come in files, too.
ALTER TABLE uploads
    DROP CONSTRAINT uploads_kind_check,
    ADD CONSTRAINT uploads_kind_check CHECK (kind IN ('transactions', 'clients', 'stocks'));

COMMENT ON COLUMN upload_trial_keys.transaction_id IS 'of a file of stocks, the ticker';
