DROP FUNCTION ensure_month;
DROP TABLE transactions, transaction_keys, clients;
DROP FUNCTION clients_are_kept;
