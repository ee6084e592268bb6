-- Transactions come in live, and the feed tells of them.

-- The ids of the outbox are in the order of the commits: whoever writes a row holds the lock from before its id is
-- drawn to the end of the transaction. Who has read one has nothing below it still to come. (The order of
-- transaction ids is not that of commits: one that waited for another's row would be told before it.) It is the last
-- lock that a transaction takes, so it cannot deadlock. Pinned by `the_feed_tells_in_the_order_of_the_commits`.
ALTER TABLE feed_outbox DROP COLUMN xid;
-- What is written is told, letter by letter: jsonb would put it in another order.
ALTER TABLE feed_outbox ALTER COLUMN events TYPE json USING events::json;

CREATE FUNCTION tell_feed(told json) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7241005);
    INSERT INTO feed_outbox (events) VALUES (told);
    -- Sent with the commit.
    PERFORM pg_notify('millrace_feed', '');
END $$;

-- Ids of events are of use within an epoch. A new one begins when the outbox was emptied, or is found to be
-- younger than what was told of it (a restored backup).
CREATE TABLE feed_epoch (
    singleton  boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    epoch      bigint NOT NULL CHECK (epoch > 0),
    begun_at   timestamptz NOT NULL DEFAULT now()
);
INSERT INTO feed_epoch (epoch) VALUES (1 + floor(random() * 281474976710655)::bigint);

-- What live buys and sells move.
ALTER TABLE journals
    DROP CONSTRAINT journals_kind_check,
    ADD CONSTRAINT journals_kind_check CHECK (kind IN ('upload', 'upload_reversal', 'trade', 'live'));

-- Days' pending totals lose rows one by one as these are decided; their extremes are looked up here.
CREATE INDEX transactions_pending ON transactions (occurred_at) WHERE status = 'pending';
