SELECT (t.occurred_at AT TIME ZONE $2)::date AS period, t.currency, count(*) AS count,
       sum(t.amount)::numeric(28,4) AS sum, min(t.amount) AS min, max(t.amount) AS max
FROM (SELECT min(first_at) AS first_at, max(last_at) AS last_at FROM client_totals WHERE client_id = $1) AS active
JOIN transactions t ON t.client_id = $1
                   AND t.occurred_at >= greatest($3::date::timestamp AT TIME ZONE $2, active.first_at)
                   AND t.occurred_at < ($4::date + 1)::timestamp AT TIME ZONE $2
                   AND t.occurred_at <= active.last_at
WHERE t.status <> 'failed' AND ($5::text IS NULL OR t.currency = $5)
GROUP BY 1, 2
ORDER BY 1, t.currency COLLATE "C"
