-- Somebody has asked, and confirmed, that all transactions be deleted. The run that does it works for such a row
-- alone, and once: a run without one, or whose row is done, deletes nothing (tests:
-- a_run_that_nobody_asked_for_deletes_nothing, every_kind_run_twice_leaves_the_same_state).
CREATE TABLE transaction_deletions (
    id        uuid PRIMARY KEY,
    run_id    uuid NOT NULL,
    asked_by  text NOT NULL,
    asked_at  timestamptz NOT NULL DEFAULT now(),
    done_at   timestamptz               -- set in the transaction that deletes
);
CREATE INDEX transaction_deletions_run ON transaction_deletions (run_id);

-- What posts to accounts, and what takes each of it back; a trade is taken back by another trade.
ALTER TABLE journals
    DROP CONSTRAINT journals_kind_check,
    ADD CONSTRAINT journals_kind_check
        CHECK (kind IN ('upload', 'upload_reversal', 'trade', 'live', 'live_reversal'));
