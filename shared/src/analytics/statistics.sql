-- $1 client, $2 from, $3 until, $4 currency or NULL, $5 kind or NULL, $6 whether what was gained is negative.
-- No row: there is no such client. A row of NULLs: it has no transactions there. Read from the covering index,
-- within the client's first and last transaction: a month outside is neither opened nor searched.
SELECT s.*
FROM clients c
LEFT JOIN LATERAL (
    SELECT currency, count(*) AS count, sum(value)::numeric(28,4) AS sum, min(value) AS min, max(value) AS max
    FROM (
        SELECT t.currency, CASE WHEN $6 AND t.kind IN ('sell', 'refund') THEN -t.amount ELSE t.amount END AS value
        FROM (SELECT min(first_at) AS first_at, max(last_at) AS last_at FROM client_totals
              WHERE client_id = c.client_id) AS active
        JOIN transactions t ON t.client_id = c.client_id AND t.occurred_at >= greatest($2, active.first_at)
                           AND t.occurred_at < $3 AND t.occurred_at <= active.last_at
        WHERE t.status <> 'failed' AND ($4::text IS NULL OR t.currency = $4) AND ($5::text IS NULL OR t.kind = $5)
    ) AS amounts
    GROUP BY currency
) AS s ON true
WHERE c.client_id = $1
ORDER BY s.currency COLLATE "C"
