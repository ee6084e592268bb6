DROP INDEX client_transaction_summary_gained;
DROP INDEX client_transaction_summary_spent;
DROP INDEX client_transaction_summary_count;
ALTER TABLE clients RESET (fillfactor);
CREATE INDEX clients_name ON clients (lower(name) text_pattern_ops);
DROP INDEX clients_search;
DROP FUNCTION client_search_terms(text, text, text);
