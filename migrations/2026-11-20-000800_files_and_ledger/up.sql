-- What a file turned out to be, and what became of it.
ALTER TABLE uploads
    ADD COLUMN format            jsonb,             -- FileFormat, once planned
    ADD COLUMN text_key          text,              -- where its records are as UTF-8 text, if not in the file itself
    ADD COLUMN warnings          text[] NOT NULL DEFAULT '{}',
    ADD COLUMN corrects          uuid REFERENCES uploads,   -- the upload whose rejects it brings, mended
    ADD COLUMN undo_run_id       uuid,              -- set: its rows are being taken back, or were
    ADD COLUMN undo_report       jsonb,
    ADD COLUMN files_removed_at  timestamptz;
CREATE INDEX uploads_corrects ON uploads (corrects) WHERE corrects IS NOT NULL;
-- A later file with the same header starts from the mapping of the last one.
CREATE INDEX uploads_mapped ON uploads (kind, id DESC) WHERE options ? 'mapping';

-- A dry run adds nothing, so the same file may be tried, or loaded, as often as somebody likes.
DROP INDEX uploads_same_file;
CREATE UNIQUE INDEX uploads_same_file ON uploads (sha256, kind, options)
    WHERE NOT forced AND options->'dry_run' IS NULL AND state IN ('received', 'planning', 'loading', 'finished');

-- first_at and last_at bound the rows that the chunk brought: an undo looks nowhere else. faults counts
-- what a check found before anything was loaded.
ALTER TABLE upload_chunks
    ADD COLUMN first_at  timestamptz,
    ADD COLUMN last_at   timestamptz,
    ADD COLUMN faults    bigint;

-- Ids that a dry run, or the check before an all-or-nothing load, has met: what repeats in another
-- chunk is seen although nothing is registered.
CREATE TABLE upload_trial_keys (
    upload_id       uuid NOT NULL REFERENCES uploads ON DELETE CASCADE,
    content_hash    bigint NOT NULL,
    transaction_id  text COLLATE "C" NOT NULL,
    PRIMARY KEY (upload_id, transaction_id)
);

-- Which upload moved a transaction from pending. It moves once.
CREATE TABLE upload_moves (
    upload_id       uuid NOT NULL REFERENCES uploads ON DELETE CASCADE,
    transaction_id  text COLLATE "C" PRIMARY KEY
);
CREATE INDEX upload_moves_upload ON upload_moves (upload_id);

-- Rows of `earlier` that a chunk of `later` found there already, the same, and therefore did not bring:
-- while there are any, `earlier` cannot be undone.
CREATE TABLE upload_overlaps (
    earlier  uuid NOT NULL,
    later    uuid NOT NULL,
    chunk    integer NOT NULL,
    rows     bigint NOT NULL CHECK (rows > 0),
    PRIMARY KEY (earlier, later, chunk)
);
CREATE INDEX upload_overlaps_later ON upload_overlaps (later);

-- A file that somebody is looking at and has not decided to load.
CREATE TABLE previews (
    id           uuid PRIMARY KEY,
    filename     text NOT NULL,
    size_bytes   bigint NOT NULL,
    sha256       bytea NOT NULL,
    storage_key  text NOT NULL,
    upload_id    uuid REFERENCES uploads,   -- set once it is loaded
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- One unit of base is `rate` units of quote, from valid_from until the next. Rates are added, never
-- changed: what was converted stays explained.
CREATE TABLE fx_rates (
    base        text COLLATE "C" NOT NULL CHECK (base ~ '^[A-Z]{3}$'),
    quote       text COLLATE "C" NOT NULL CHECK (quote ~ '^[A-Z]{3}$' AND quote <> base),
    rate        numeric(20,10) NOT NULL CHECK (rate > 0),
    valid_from  timestamptz NOT NULL,
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (base, quote, valid_from)
);
INSERT INTO fx_rates (base, quote, rate, valid_from, created_by) VALUES
    ('EUR', 'USD', 1.10, 'epoch', 'millrace'), ('GBP', 'USD', 1.25, 'epoch', 'millrace'),
    ('USD', 'EUR', 0.91, 'epoch', 'millrace'), ('USD', 'GBP', 0.80, 'epoch', 'millrace');

-- Cash that an upload's chunks owe the accounts (buys take, sells give), in the account's currency: one row
-- a chunk. It is posted as one journal when the upload finishes, and gone from here. What an upload owes
-- that failed or was cancelled is posted when another one finishes that found its rows there.
CREATE TABLE upload_postings (
    upload_id  uuid NOT NULL,
    chunk      integer NOT NULL,
    clients    text[] COLLATE "C" NOT NULL,
    amounts    numeric[] NOT NULL,
    PRIMARY KEY (upload_id, chunk),
    FOREIGN KEY (upload_id, chunk) REFERENCES upload_chunks ON DELETE CASCADE,
    CHECK (cardinality(clients) = cardinality(amounts))
);
ALTER TABLE upload_postings ALTER COLUMN clients SET STORAGE EXTERNAL, ALTER COLUMN amounts SET STORAGE EXTERNAL;

-- The ledger. A journal is one event, its entries say what moved: every journal sums to zero per asset.
-- Nothing in it is ever changed or removed; a reversal is another journal.
CREATE TABLE journals (
    id           uuid PRIMARY KEY,
    kind         text NOT NULL CHECK (kind IN ('upload', 'upload_reversal', 'trade')),
    source_id    uuid NOT NULL,             -- the upload or trade
    part         integer NOT NULL DEFAULT 0, -- an upload that went on after its rows were posted has several
    reversal_of  uuid UNIQUE REFERENCES journals,
    posted_at    timestamptz NOT NULL DEFAULT now(),
    -- Posted once, whatever is retried.
    UNIQUE (source_id, kind, part)
);
CREATE TABLE entries (
    journal_id  uuid NOT NULL,             -- one of journals; checked below, a statement at a time
    entry       integer NOT NULL,
    amount      numeric(28,4) NOT NULL CHECK (amount <> 0),
    account     text NOT NULL CHECK (account IN ('client', 'clearing')),
    client_id   text COLLATE "C",
    asset_kind  text NOT NULL CHECK (asset_kind IN ('cash', 'shares')),
    asset       text COLLATE "C" NOT NULL,  -- currency or ticker
    PRIMARY KEY (journal_id, entry),
    CHECK ((account = 'client') = (client_id IS NOT NULL))
);
CREATE INDEX entries_client ON entries (client_id, asset, journal_id) WHERE client_id IS NOT NULL;

CREATE FUNCTION ledger_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: reverse a journal by another'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER journals_are_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON journals
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_kept();
CREATE TRIGGER entries_are_kept BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_kept();

-- A statement's entries balance, and belong to journals. Triggers for each row, which a foreign key is
-- too, would cost a second per 50,000.
CREATE FUNCTION entries_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    wrong  record;
BEGIN
    SELECT journal_id, asset, sum(amount) AS rest INTO wrong FROM added
    GROUP BY journal_id, asset_kind, asset HAVING sum(amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'journal % does not balance: % of % are left over', wrong.journal_id, wrong.rest, wrong.asset
            USING ERRCODE = 'check_violation';
    END IF;
    IF EXISTS (SELECT 1 FROM (SELECT DISTINCT journal_id FROM added) AS a
               WHERE NOT EXISTS (SELECT 1 FROM journals j WHERE j.id = a.journal_id)) THEN
        RAISE EXCEPTION 'entries without a journal' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER entries_balance AFTER INSERT ON entries REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION entries_balance();

-- As before; what is new: an upload that is undone stays undone, whatever becomes of its flow.
CREATE OR REPLACE FUNCTION uploads_follow_their_flow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE uploads SET
        state = CASE NEW.state WHEN 'completed' THEN 'finished' WHEN 'failed' THEN 'failed'
                    WHEN 'discarded' THEN 'failed' WHEN 'cancelled' THEN 'cancelled'
                    ELSE CASE WHEN records IS NULL THEN 'planning' ELSE 'loading' END END,
        finished_at = NEW.finished_at
    WHERE run_id = NEW.id AND undo_run_id IS NULL;
    RETURN NULL;
END $$;

-- Nothing reads merchant_days by day alone, and nearly every row of a wide file would pay for it.
DROP INDEX merchant_days_day;

-- Room for the sum of many trades, each of which may be as large as an amount can be.
ALTER TABLE clients ALTER COLUMN position TYPE numeric(28,4), ALTER COLUMN opening_balance TYPE numeric(28,4);
