-- Summaries are brought up to date in the transaction that loads the rows, so they are exact at every
-- commit. A day is a day in settings.reporting_zone. What failed counts only in day_totals.
CREATE TABLE day_totals (
    day       date NOT NULL,
    currency  text COLLATE "C" NOT NULL,
    kind      text COLLATE "C" NOT NULL,
    status    text COLLATE "C" NOT NULL,
    count     bigint NOT NULL CHECK (count > 0),
    sum       numeric(28,4) NOT NULL,
    min       numeric(20,4) NOT NULL,
    max       numeric(20,4) NOT NULL,
    PRIMARY KEY (day, currency, kind, status)
);

CREATE TABLE merchant_days (
    day          date NOT NULL,
    count        bigint NOT NULL CHECK (count > 0),
    merchant_id  text COLLATE "C" NOT NULL,
    currency     text COLLATE "C" NOT NULL,
    kind         text COLLATE "C" NOT NULL,
    sum          numeric(28,4) NOT NULL,
    min          numeric(20,4) NOT NULL,
    max          numeric(20,4) NOT NULL,
    PRIMARY KEY (merchant_id, day, currency, kind)
);
CREATE INDEX merchant_days_day ON merchant_days (day);

-- spent = buys + payments, gained = sells + refunds; sum and sum_squares are over all amounts.
CREATE TABLE client_totals (
    first_at     timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    count        bigint NOT NULL CHECK (count > 0),
    client_id    text COLLATE "C" NOT NULL,
    currency     text COLLATE "C" NOT NULL,
    spent        numeric(28,4) NOT NULL,
    gained       numeric(28,4) NOT NULL,
    sum          numeric(28,4) NOT NULL,
    sum_squares  numeric NOT NULL,
    min          numeric(20,4) NOT NULL,
    max          numeric(20,4) NOT NULL,
    PRIMARY KEY (client_id, currency)
) WITH (fillfactor = 70);

-- What failed, by client: it counts in no total, but a client's queries are bounded by its first and
-- last transaction, whatever became of it.
CREATE TABLE client_failures (
    first_at   timestamptz NOT NULL,
    last_at    timestamptz NOT NULL,
    count      bigint NOT NULL CHECK (count > 0),
    client_id  text COLLATE "C" NOT NULL,
    PRIMARY KEY (client_id)
);

-- A snapshot for people and for service A's clients; refreshed (concurrently) after each upload.
CREATE MATERIALIZED VIEW client_transaction_summary AS
SELECT client_id,
       count(*)                                                      AS total_transactions,
       coalesce(sum(amount) FILTER (WHERE kind = 'buy'), 0)::numeric(28,4)  AS total_spent,
       coalesce(sum(amount) FILTER (WHERE kind = 'sell'), 0)::numeric(28,4) AS total_gained
FROM transactions
GROUP BY client_id;
CREATE UNIQUE INDEX client_transaction_summary_client ON client_transaction_summary (client_id);
