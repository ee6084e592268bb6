-- $1 client, $2 zone, $3 first and $4 last day that is wanted, $5 currency or NULL, $6 whether spend is net of
-- what was gained. What was spent by day and currency, from six days before the first: its average needs them.
-- No row: there is no such client. A row without a day: nothing happened then, or at all.
SELECT k.currency, (k.first_at AT TIME ZONE $2)::date AS first_day, (k.last_at AT TIME ZONE $2)::date AS last_day,
       d.day, d.spend
FROM clients c
LEFT JOIN client_totals k ON k.client_id = c.client_id AND ($5::text IS NULL OR k.currency = $5)
LEFT JOIN (
    SELECT t.currency, (t.occurred_at AT TIME ZONE $2)::date AS day,
           sum(CASE WHEN t.kind IN ('buy', 'payment') THEN t.amount WHEN $6 THEN -t.amount ELSE 0 END)::numeric(28,4) AS spend
    FROM (SELECT min(first_at) AS first_at, max(last_at) AS last_at FROM client_totals
          WHERE client_id = $1) AS active
    JOIN transactions t ON t.client_id = $1
                       AND t.occurred_at >= ($3::date - 6)::timestamp AT TIME ZONE $2
                       AND t.occurred_at >= active.first_at
                       AND t.occurred_at < ($4::date + 1)::timestamp AT TIME ZONE $2
                       AND t.occurred_at <= active.last_at
    WHERE t.status <> 'failed' AND ($5::text IS NULL OR t.currency = $5)
    GROUP BY 1, 2
) AS d ON d.currency = k.currency
WHERE c.client_id = $1
ORDER BY k.currency, d.day
