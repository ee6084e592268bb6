-- $1 clients, $2 currencies (one total each), $3 first and $4 last instant of any of them.
WITH keys AS (
    SELECT * FROM unnest($1::text[], $2::text[]) AS k (client_id, currency)
), counted AS (
    SELECT k.client_id, k.currency, count(*) AS count, sum(t.amount) AS sum, min(t.amount) AS min, max(t.amount) AS max,
           coalesce(sum(t.amount) FILTER (WHERE t.kind IN ('buy', 'payment')), 0) AS spent,
           coalesce(sum(t.amount) FILTER (WHERE t.kind IN ('sell', 'refund')), 0) AS gained,
           sum(t.amount * t.amount) AS sum_squares, min(t.occurred_at) AS first_at, max(t.occurred_at) AS last_at
    FROM keys k
    JOIN transactions t ON t.client_id = k.client_id AND t.currency = k.currency
    WHERE t.status <> 'failed' AND t.occurred_at BETWEEN $3 AND $4
    GROUP BY k.client_id, k.currency
), emptied AS (
    DELETE FROM client_totals d USING keys k
    WHERE d.client_id = k.client_id AND d.currency = k.currency
      AND NOT EXISTS (SELECT 1 FROM counted c WHERE (c.client_id, c.currency) = (k.client_id, k.currency))
)
UPDATE client_totals d SET
    count = c.count, sum = c.sum, min = c.min, max = c.max, spent = c.spent, gained = c.gained,
    sum_squares = c.sum_squares, first_at = c.first_at, last_at = c.last_at
FROM counted c
WHERE d.client_id = c.client_id AND d.currency = c.currency
