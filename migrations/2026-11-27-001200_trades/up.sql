-- Stocks: prices are what they were listed at for good, the volume moves with settlements.
CREATE TABLE stocks (
    ticker         text COLLATE "C" PRIMARY KEY CHECK (length(ticker) BETWEEN 1 AND 15),
    id             integer GENERATED ALWAYS AS IDENTITY UNIQUE,
    name           text,
    currency       text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    open_price     numeric(20,4) NOT NULL CHECK (open_price >= 0),
    close_price    numeric(20,4) NOT NULL CHECK (close_price >= 0),
    high           numeric(20,4) NOT NULL,
    low            numeric(20,4) NOT NULL CHECK (low >= 0),
    volume         bigint NOT NULL CHECK (volume >= 0),   -- shares that can be bought
    listed_volume  bigint NOT NULL,                       -- shares it was listed with
    created_by     text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    CHECK (open_price BETWEEN low AND high),
    CHECK (close_price BETWEEN low AND high)
) WITH (fillfactor = 50);

CREATE FUNCTION stocks_are_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'stock % is what it was listed as: only its volume moves, by trades', OLD.ticker
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER stocks_are_kept BEFORE DELETE ON stocks FOR EACH ROW EXECUTE FUNCTION stocks_are_kept();
CREATE TRIGGER stock_prices_are_kept
    BEFORE UPDATE OF ticker, id, currency, open_price, close_price, high, low, listed_volume ON stocks
    FOR EACH ROW EXECUTE FUNCTION stocks_are_kept();

-- Trades. `created_at` is the time in the id, so the order of ids is the order of times. What a decided
-- trade moved stands here: `account_amount` in the account's currency, `cost` of the shares that came or
-- went, `realised` profit or loss; holdings are the sums of these.
CREATE TABLE trades (
    created_at        timestamptz NOT NULL,
    decided_at        timestamptz,
    volume            bigint NOT NULL CHECK (volume > 0),
    id                uuid PRIMARY KEY,
    run_id            uuid NOT NULL,           -- its settlement
    reversal_of       uuid REFERENCES trades,
    client_id         text COLLATE "C" NOT NULL,
    ticker            text COLLATE "C" NOT NULL,
    side              text NOT NULL CHECK (side IN ('buy', 'sell')),
    state             text NOT NULL CHECK (state IN ('pending', 'settled', 'rejected', 'reversed')),
    reason            text CHECK (reason IN ('unknown_stock', 'client_suspended', 'insufficient_funds',
                          'insufficient_volume', 'insufficient_holdings', 'no_exchange_rate', 'amount_too_large',
                          'amount_too_small',
                          'transaction_exists', 'not_settled', 'cancelled')),
    created_by        text NOT NULL,
    price             numeric(20,4),
    amount            numeric(20,4),           -- volume × price
    currency          text,                    -- the stock's
    account_amount    numeric(20,4),
    account_currency  text,
    cost              numeric(28,4),
    realised          numeric(28,4),
    CHECK ((state = 'pending') = (decided_at IS NULL)),
    CHECK ((state = 'rejected') = (reason IS NOT NULL)),
    CHECK ((state IN ('settled', 'reversed')) = (account_amount IS NOT NULL AND amount IS NOT NULL
           AND price IS NOT NULL AND currency IS NOT NULL AND account_currency IS NOT NULL
           AND cost IS NOT NULL AND realised IS NOT NULL))
);
CREATE INDEX trades_client ON trades (client_id, id DESC);
CREATE INDEX trades_ticker ON trades (ticker, id DESC);
-- Most trades are settled: for the others an index of their own, small.
CREATE INDEX trades_notable ON trades (state, id DESC) WHERE state <> 'settled';
-- A trade is reversed once (test: two_reversals_of_one_trade_make_one); one that was rejected may be tried
-- again.
CREATE UNIQUE INDEX trades_reversed_once ON trades (reversal_of) WHERE state <> 'rejected';

-- A trade's fate is final, but for a settled one being reversed.
CREATE FUNCTION trades_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'trade % cannot go from % to %', OLD.id, OLD.state, NEW.state
        USING ERRCODE = 'check_violation', CONSTRAINT = 'trades_transition';
END $$;
CREATE TRIGGER trades_guard BEFORE UPDATE ON trades FOR EACH ROW
    WHEN (NOT (OLD.state, NEW.state) IN (('pending', 'settled'), ('pending', 'rejected'), ('settled', 'reversed')))
    EXECUTE FUNCTION trades_guard();

-- Who cancels a settlement wants the trade no more; nor does who leaves a failed one until it is pruned. The
-- run's row is locked before the trade's, as a settlement does.
CREATE FUNCTION trades_follow_their_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE trades SET state = 'rejected', reason = 'cancelled', decided_at = clock_timestamp()
    WHERE id = (OLD.args->>'trade_id')::uuid AND state = 'pending';
    RETURN NULL;
END $$;
CREATE TRIGGER trades_follow_their_run AFTER UPDATE OF state ON runs FOR EACH ROW
    WHEN (NEW.kind = 'settle_trade' AND NEW.state = 'cancelled')
    EXECUTE FUNCTION trades_follow_their_run();
CREATE TRIGGER trades_do_not_wait_for_pruned_runs AFTER DELETE ON runs FOR EACH ROW
    WHEN (OLD.kind = 'settle_trade' AND OLD.state IN ('failed', 'discarded'))
    EXECUTE FUNCTION trades_follow_their_run();

-- Usernames are few, and found by how they begin.
CREATE INDEX clients_username ON clients (username text_pattern_ops) WHERE username IS NOT NULL;

-- What a client holds of a stock, by trades alone. `cost` is what the shares that are held cost, in the
-- account's currency (average cost), `realised` what was won or lost by selling. Written only by who has
-- locked the client.
CREATE TABLE holdings (
    shares     bigint NOT NULL CHECK (shares >= 0),
    client_id  text COLLATE "C" NOT NULL,
    ticker     text COLLATE "C" NOT NULL,
    cost       numeric(28,4) NOT NULL CHECK (cost >= 0),
    realised   numeric(28,4) NOT NULL,
    PRIMARY KEY (client_id, ticker),
    CHECK (shares > 0 OR cost = 0)
) WITH (fillfactor = 70);

-- What the feed has to tell, one row a committing transaction: its events in order.
CREATE TABLE feed_outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid         xid8 NOT NULL DEFAULT pg_current_xact_id(),
    created_at  timestamptz NOT NULL DEFAULT now(),
    events      jsonb NOT NULL
);

-- What is read in haste is kept in Redis. A process that must change something and cannot tell Redis tells
-- it here: until then, nothing that is kept there is to be believed; and what was kept under another epoch
-- never is.
CREATE TABLE cache_trust (
    singleton       boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    epoch           uuid NOT NULL,
    distrust_until  timestamptz NOT NULL
);
INSERT INTO cache_trust (epoch, distrust_until) VALUES (gen_random_uuid(), 'epoch');

-- A journal is posted when its accounts are locked, not when its transaction began: for one account the
-- order of times is the order in which its position moved.
ALTER TABLE journals ALTER COLUMN posted_at SET DEFAULT clock_timestamp();

-- The ledger only grows, for its owner too. A foreign key would lock what it points to as its owner, for
-- which it takes the right to update; a trigger sees to it instead.
ALTER TABLE journals DROP CONSTRAINT journals_reversal_of_fkey;
CREATE FUNCTION journals_reverse_journals() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM journals j WHERE j.id = NEW.reversal_of) THEN
        RAISE EXCEPTION 'journal % reverses none', NEW.id USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER journals_reverse_journals BEFORE INSERT ON journals FOR EACH ROW
    WHEN (NEW.reversal_of IS NOT NULL) EXECUTE FUNCTION journals_reverse_journals();
REVOKE UPDATE, DELETE, TRUNCATE ON journals, entries FROM PUBLIC, CURRENT_USER;
