-- $1 client, $2 whether spend is net of what was gained; for spend by day as well $3 zone, $4 first and $5 last
-- day, $6 currency (NULL: no days), from six days before the first.
-- No row: there is no such client. A row without a currency: it has no transactions. All of it, the count of
-- changes too, is of one snapshot, and reads the client's transactions once, however many currencies there
-- are. The shortest gap is over those in all currencies.
WITH own AS MATERIALIZED (
    SELECT t.occurred_at, t.currency, t.kind, t.amount
    FROM (SELECT min(first_at) AS first_at, max(last_at) AS last_at FROM client_totals
          WHERE client_id = $1) AS active
    JOIN transactions t ON t.client_id = $1 AND t.occurred_at BETWEEN active.first_at AND active.last_at
    WHERE t.status <> 'failed'
), gaps AS MATERIALIZED (
    SELECT (extract(epoch FROM min(gap)) * 1000000)::bigint AS gap_us
    FROM (SELECT occurred_at - lag(occurred_at) OVER (ORDER BY occurred_at) AS gap FROM own) AS between_two
), by_day AS MATERIALIZED (
    SELECT array_agg(day ORDER BY day) AS days, array_agg(spend ORDER BY day) AS spends
    FROM (
        SELECT (occurred_at AT TIME ZONE $3)::date AS day,
               sum(CASE WHEN kind IN ('buy', 'payment') THEN amount WHEN $2 THEN -amount ELSE 0 END)::numeric(28,4) AS spend
        FROM own
        WHERE currency = $6 AND occurred_at >= ($4::date - 6)::timestamp AT TIME ZONE $3
          AND occurred_at < ($5::date + 1)::timestamp AT TIME ZONE $3
        GROUP BY 1
    ) AS spent
)
SELECT k.*, gaps.gap_us, by_day.days, by_day.spends,
       (SELECT coalesce(sum(changes), 0)::bigint FROM summary_changes) AS changes
FROM clients c
CROSS JOIN gaps
CROSS JOIN by_day
LEFT JOIN (
    SELECT client_id, currency, count, CASE WHEN $2 THEN spent - gained ELSE spent END AS spend, sum,
           (sum_squares * 100000000)::numeric(60,0)::text AS square_units, max, first_at, last_at
    FROM client_totals
) AS k ON k.client_id = c.client_id
WHERE c.client_id = $1
