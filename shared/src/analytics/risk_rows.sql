-- When each of the client's transactions occurred, and the day and the spend of each within the days: who asked puts them
-- together, which takes less than a window and a group here.
SELECT NULL::bigint AS gap_us, array_agg(t.occurred_at) AS times,
       array_agg((t.occurred_at AT TIME ZONE q.zone)::date)
           FILTER (WHERE t.currency = q.days_of AND t.occurred_at >= active.days_from AND t.occurred_at < active.days_until) AS days,
       array_agg(CASE WHEN t.kind IN ('buy', 'payment') THEN t.amount WHEN q.net THEN -t.amount ELSE 0 END)
           FILTER (WHERE t.currency = q.days_of AND t.occurred_at >= active.days_from AND t.occurred_at < active.days_until) AS spends
FROM transactions t
WHERE NOT active.many AND t.client_id = q.client_id
  AND t.occurred_at BETWEEN active.first_at AND active.last_at AND t.status <> 'failed'
