-- Reversals may be there, and the ledger keeps them: only new ones are refused.
ALTER TABLE journals
    DROP CONSTRAINT journals_kind_check,
    ADD CONSTRAINT journals_kind_check CHECK (kind IN ('upload', 'upload_reversal', 'trade', 'live')) NOT VALID;

DROP TABLE transaction_deletions;
