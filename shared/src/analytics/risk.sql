-- $1 client, $2 whether spend is net of what was gained, $3 whether to rank here.
-- No row: there is no such client. A row without a currency: it has no transactions. All of it, the count of
-- changes too, is of one snapshot. The shortest gap is over the client's transactions in all currencies.
SELECT k.*, g.gap_us,
       (SELECT coalesce(sum(changes), 0)::bigint FROM summary_changes) AS changes,
       CASE WHEN $3 THEN 1 + (
           SELECT count(DISTINCT CASE WHEN $2 THEN o.spent - o.gained ELSE o.spent END) FROM client_totals o
           WHERE o.currency = k.currency AND CASE WHEN $2 THEN o.spent - o.gained ELSE o.spent END > k.spend
       ) END AS rank
FROM clients c
LEFT JOIN (
    SELECT client_id, currency, count, CASE WHEN $2 THEN spent - gained ELSE spent END AS spend, sum,
           (sum_squares * 100000000)::numeric(60,0)::text AS square_units, max
    FROM client_totals
) AS k ON k.client_id = c.client_id
LEFT JOIN LATERAL (
    SELECT (extract(epoch FROM min(gap)) * 1000000)::bigint AS gap_us
    FROM (
        SELECT t.occurred_at - lag(t.occurred_at) OVER (ORDER BY t.occurred_at) AS gap
        FROM (SELECT min(first_at) AS first_at, max(last_at) AS last_at FROM client_totals
              WHERE client_id = c.client_id) AS active
        JOIN transactions t ON t.client_id = c.client_id
                           AND t.occurred_at BETWEEN active.first_at AND active.last_at
        WHERE t.status <> 'failed'
    ) AS gaps
) AS g ON true
WHERE c.client_id = $1
ORDER BY k.currency
