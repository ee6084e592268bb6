DROP TRIGGER client_totals_change ON client_totals;
DROP TRIGGER merchant_days_change ON merchant_days;
DROP TRIGGER day_totals_change ON day_totals;
DROP FUNCTION note_summary_change();
DROP TABLE summary_changes;
DROP MATERIALIZED VIEW client_transaction_summary;
CREATE MATERIALIZED VIEW client_transaction_summary AS
SELECT client_id,
       count(*)                                                      AS total_transactions,
       coalesce(sum(amount) FILTER (WHERE kind = 'buy'), 0)::numeric(28,4)  AS total_spent,
       coalesce(sum(amount) FILTER (WHERE kind = 'sell'), 0)::numeric(28,4) AS total_gained
FROM transactions
GROUP BY client_id;
CREATE UNIQUE INDEX client_transaction_summary_client ON client_transaction_summary (client_id);
