-- $1 ids: what is recorded under them, and where it came from.
SELECT k.transaction_id, t.amount::text, t.currency, t.kind, k.client_id, k.occurred_at, t.source, t.source_line,
       u.filename, t.merchant_id, t.product_id, t.ticker, t.shares::text, t.price::text
FROM transaction_keys k
LEFT JOIN LATERAL (SELECT * FROM transactions t WHERE t.client_id = k.client_id
                   AND t.occurred_at = k.occurred_at AND t.transaction_id = k.transaction_id) t ON true
LEFT JOIN uploads u ON u.id = t.source_id
WHERE k.transaction_id = ANY ($1)
