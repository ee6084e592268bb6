-- The snapshot by client and currency: amounts of two currencies are never added. total_spent is what buys
-- cost, total_gained what sells brought; what failed counts nowhere.
DROP MATERIALIZED VIEW client_transaction_summary;
CREATE MATERIALIZED VIEW client_transaction_summary AS
SELECT client_id, currency,
       count(*)                                                             AS total_transactions,
       count(*) FILTER (WHERE kind = 'buy')                                 AS buys,
       count(*) FILTER (WHERE kind = 'sell')                                AS sells,
       coalesce(sum(amount) FILTER (WHERE kind = 'buy'), 0)::numeric(28,4)  AS total_spent,
       coalesce(sum(amount) FILTER (WHERE kind = 'sell'), 0)::numeric(28,4) AS total_gained
FROM transactions
WHERE status <> 'failed'
GROUP BY client_id, currency;
CREATE UNIQUE INDEX client_transaction_summary_client ON client_transaction_summary (client_id, currency);

-- Whether any summary has changed: sum(changes) grows by one with each commit that changed some, and two
-- snapshots that see the same sum see the same summaries (test: what_is_kept_is_never_older_than_the_record).
-- Each writer has a row of its own while it writes, so writers do not wait for each other; there are as many
-- rows as there ever were writers at once.
CREATE TABLE summary_changes (
    slot        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changes     bigint NOT NULL,
    changed_in  bigint NOT NULL     -- the transaction that changed it last
) WITH (fillfactor = 50);

CREATE FUNCTION note_summary_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    this  bigint := pg_current_xact_id()::text::bigint;
BEGIN
    PERFORM FROM summary_changes WHERE changed_in = this;
    IF NOT FOUND THEN
        UPDATE summary_changes SET changes = changes + 1, changed_in = this
        WHERE slot = (SELECT slot FROM summary_changes LIMIT 1 FOR UPDATE SKIP LOCKED);
        IF NOT FOUND THEN
            INSERT INTO summary_changes (changes, changed_in) VALUES (1, this);
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER day_totals_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON day_totals
    FOR EACH STATEMENT EXECUTE FUNCTION note_summary_change();
CREATE TRIGGER merchant_days_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON merchant_days
    FOR EACH STATEMENT EXECUTE FUNCTION note_summary_change();
CREATE TRIGGER client_totals_change AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON client_totals
    FOR EACH STATEMENT EXECUTE FUNCTION note_summary_change();
