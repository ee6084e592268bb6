-- Clients are account holders. `position` is the cash position: balance = max(position, 0),
-- debt = max(-position, 0). A stub is a client of whom only the id is known, from a transaction.
CREATE TABLE clients (
    client_id          text COLLATE "C" PRIMARY KEY CHECK (length(client_id) BETWEEN 1 AND 36),
    username           text UNIQUE,
    name               text,
    email              text,
    date_of_birth      date,
    country            text,
    account_type       text CHECK (account_type IN ('standard', 'premium', 'corporate')),
    account_open_date  date,
    phone_number       text,
    telegram_chat_id   text,
    webhook_url        text,
    address            text,
    zone               text,
    risk_tolerance     text CHECK (risk_tolerance IN ('low', 'medium', 'high')),
    currency           text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    opening_balance    numeric(20,4) NOT NULL DEFAULT 0,
    position           numeric(20,4) NOT NULL DEFAULT 0,
    stub               boolean NOT NULL DEFAULT false,
    suspended_at       timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now()
);
-- Addresses differ by case only in spelling: one mailbox, one client.
CREATE UNIQUE INDEX clients_email ON clients (lower(email));
CREATE INDEX clients_name ON clients (lower(name) text_pattern_ops);
CREATE INDEX clients_country ON clients (country);

-- Clients are never deleted, so transactions need no foreign key (it would cost a third of the load).
CREATE FUNCTION clients_are_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'client % cannot be deleted; suspend it instead', OLD.client_id
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER clients_are_kept BEFORE DELETE ON clients FOR EACH ROW EXECUTE FUNCTION clients_are_kept();

-- One row for every transaction ever accepted: the id is unique across all months, which no index of
-- a partitioned table could promise. First committed wins. Where the transaction came from stands in
-- its row, which client and time find. `pending` tells whether the status may still move, and spares a
-- look at the row when it may not.
CREATE TABLE transaction_keys (
    occurred_at     timestamptz NOT NULL,
    content_hash    bigint NOT NULL,
    pending         boolean NOT NULL,
    client_id       text COLLATE "C" NOT NULL,
    transaction_id  text COLLATE "C" NOT NULL,
    CONSTRAINT transaction_keys_pkey PRIMARY KEY (transaction_id)
);

-- Partitioned by month (UTC). Partitions are made by ensure_month before the loading transaction;
-- there is no default partition, so a row without one is an error and never out of place. The only
-- index covers a client's range queries; uniqueness is transaction_keys'.
CREATE TABLE transactions (
    occurred_at     timestamptz NOT NULL,
    source_line     integer,
    amount          numeric(20,4) NOT NULL CHECK (amount >= 0),
    account_amount  numeric(20,4),
    shares          numeric(20,4),
    price           numeric(20,4),
    source_id       uuid,
    transaction_id  text COLLATE "C" NOT NULL,
    client_id       text COLLATE "C" NOT NULL,
    merchant_id     text COLLATE "C",
    product_id      text COLLATE "C",
    kind            text NOT NULL CHECK (kind IN ('buy', 'sell', 'payment', 'refund')),
    ticker          text,
    stock_name      text,
    currency        text NOT NULL,
    status          text NOT NULL CHECK (status IN ('pending', 'success', 'failed')),
    channel         text,
    source          text NOT NULL CHECK (source IN ('upload', 'live', 'trade', 'synthetic'))
) PARTITION BY RANGE (occurred_at);
CREATE INDEX transactions_client ON transactions (client_id, occurred_at)
    INCLUDE (amount, kind, currency, status);

-- Makes the partition of a month unless it is there. Call it in a short transaction of its own,
-- before loading, with a lock_timeout: CREATE TABLE … PARTITION OF would block every reader and
-- deadlock two loaders, ATTACH blocks nobody.
CREATE FUNCTION ensure_month(p_month date) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    first_day  date := date_trunc('month', p_month)::date;
    partition  text := 'transactions_' || to_char(first_day, 'YYYY_MM');
BEGIN
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('millrace.transactions.partitions'));
    -- Asked of the table itself: an advisory lock does not refresh the cache that to_regclass reads.
    IF EXISTS (SELECT 1 FROM pg_class WHERE relname = partition
               AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'transactions'::regclass)) THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE transactions INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)', partition);
    EXECUTE format('ALTER TABLE transactions ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', partition,
                   first_day::timestamp AT TIME ZONE 'UTC',
                   (first_day + interval '1 month') AT TIME ZONE 'UTC');
    RETURN true;
END $$;
