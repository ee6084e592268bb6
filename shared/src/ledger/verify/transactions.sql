SELECT 'trade ' || t.id, 'a transaction of the same id and client', k.client_id
FROM trades t LEFT JOIN transaction_keys k ON k.transaction_id = t.id::text
WHERE t.state IN ('settled', 'reversed') AND k.client_id IS DISTINCT FROM t.client_id
ORDER BY t.id LIMIT $1
