SET LOCAL lock_timeout = '60s';
SET LOCAL jit = off;
-- Readers go on; whoever writes a key waits, who looks one up to lock it as well.
LOCK TABLE transaction_keys IN EXCLUSIVE MODE;
