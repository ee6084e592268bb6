-- What the next clients after $1 did from $2 until before $3, by currency. Each client is one look into the
-- covering index; clients who did nothing have a row without a currency, so that the last of them is known.
SELECT c.client_id, nullif(c.name, '') AS name, t.currency, t.transactions, t.spent, t.gained
FROM (SELECT client_id, name FROM clients WHERE client_id > $1 ORDER BY client_id LIMIT $4) AS c
LEFT JOIN LATERAL (
    SELECT currency, count(*) AS transactions,
           coalesce(sum(amount) FILTER (WHERE kind IN ('buy', 'payment')), 0) AS spent,
           coalesce(sum(amount) FILTER (WHERE kind IN ('sell', 'refund')), 0) AS gained
    FROM transactions
    WHERE client_id = c.client_id AND occurred_at >= $2 AND occurred_at < $3 AND status = 'success'
    GROUP BY currency
) AS t ON true
ORDER BY c.client_id, t.currency
