DROP MATERIALIZED VIEW client_transaction_summary;
DROP TABLE client_failures, client_totals, merchant_days, day_totals;
