WITH moved AS (
    SELECT client_id, asset, sum(amount) AS amount FROM entries
    WHERE client_id IS NOT NULL AND asset_kind = 'cash' GROUP BY client_id, asset
)
SELECT 'client ' || coalesce(c.client_id, m.client_id) || coalesce(', ' || m.asset, ''),
       (coalesce(c.opening_balance, 0) + coalesce(m.amount, 0))::text, c.position::text
FROM clients c FULL JOIN moved m ON m.client_id = c.client_id AND m.asset = c.currency
WHERE c.opening_balance + coalesce(m.amount, 0) IS DISTINCT FROM c.position
ORDER BY 1 LIMIT $1
