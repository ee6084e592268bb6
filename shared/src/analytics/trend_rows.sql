-- By currency the day and the spend of each transaction: who asked adds those of a day, which takes less than groups here.
SELECT t.currency, array_agg((t.occurred_at AT TIME ZONE q.zone)::date) AS days,
       array_agg(CASE WHEN t.kind IN ('buy', 'payment') THEN t.amount WHEN q.net THEN -t.amount ELSE 0 END) AS spends
FROM transactions t
WHERE NOT active.many AND t.client_id = q.client_id AND t.occurred_at >= greatest(active.days_from, active.first_at)
  AND t.occurred_at < active.days_until AND t.occurred_at <= active.last_at AND t.status <> 'failed'
  AND (q.currency IS NULL OR t.currency = q.currency)
GROUP BY t.currency
