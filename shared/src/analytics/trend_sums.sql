-- The same added already: however many transactions there are, the answer is small.
SELECT currency, array_agg(day) AS days, array_agg(spend) AS spends
FROM (
    SELECT t.currency, (t.occurred_at AT TIME ZONE q.zone)::date AS day,
           sum(CASE WHEN t.kind IN ('buy', 'payment') THEN t.amount WHEN q.net THEN -t.amount ELSE 0 END)::numeric(28,4) AS spend
    FROM transactions t
    WHERE NOT active.many AND t.client_id = q.client_id AND t.occurred_at >= greatest(active.days_from, active.first_at)
      AND t.occurred_at < active.days_until AND t.occurred_at <= active.last_at AND t.status <> 'failed'
      AND (q.currency IS NULL OR t.currency = q.currency)
    GROUP BY 1, 2
) AS by_day
GROUP BY currency
