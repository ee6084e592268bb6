-- $1 ids that are recorded: what became of them.
SELECT k.transaction_id, t.status
FROM transaction_keys k
JOIN LATERAL (SELECT status FROM transactions t WHERE t.client_id = k.client_id
              AND t.occurred_at = k.occurred_at AND t.transaction_id = k.transaction_id) t ON true
WHERE k.transaction_id = ANY ($1)
