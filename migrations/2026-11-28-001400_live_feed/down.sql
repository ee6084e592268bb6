DROP INDEX transactions_pending;
-- Journals of live rows may be there: only new ones are refused.
ALTER TABLE journals
    DROP CONSTRAINT journals_kind_check,
    ADD CONSTRAINT journals_kind_check CHECK (kind IN ('upload', 'upload_reversal', 'trade')) NOT VALID;
DROP TABLE feed_epoch;
DROP FUNCTION tell_feed;
ALTER TABLE feed_outbox ALTER COLUMN events TYPE jsonb USING events::jsonb;
-- Rows that are there are of transactions that have committed.
ALTER TABLE feed_outbox ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id();
