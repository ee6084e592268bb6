-- A loading connection begins with this. The temporary tables are emptied by each commit; made once
-- and not in every load, they do not bloat the catalogue.
SET lock_timeout = '60s';
SET jit = off;
SET temp_buffers = '32MB';
CREATE TEMP TABLE incoming_keys (LIKE transaction_keys) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE incoming_merchant_days (LIKE merchant_days) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE incoming_client_totals (LIKE client_totals) ON COMMIT DELETE ROWS;
