-- The same put together already: however many transactions there are, the answer is small.
WITH found AS MATERIALIZED (
    SELECT t.occurred_at, t.currency, t.kind, t.amount
    FROM transactions t
    WHERE NOT active.many AND t.client_id = q.client_id
      AND t.occurred_at BETWEEN active.first_at AND active.last_at AND t.status <> 'failed'
), gaps AS (
    SELECT (extract(epoch FROM min(gap)) * 1000000)::bigint AS gap_us
    FROM (SELECT occurred_at - lag(occurred_at) OVER (ORDER BY occurred_at) AS gap FROM found) AS between_two
), by_day AS (
    SELECT array_agg(day) AS days, array_agg(spend) AS spends
    FROM (
        SELECT (occurred_at AT TIME ZONE q.zone)::date AS day,
               sum(CASE WHEN kind IN ('buy', 'payment') THEN amount WHEN q.net THEN -amount ELSE 0 END)::numeric(28,4) AS spend
        FROM found
        WHERE currency = q.days_of AND occurred_at >= active.days_from AND occurred_at < active.days_until
        GROUP BY 1
    ) AS spent
)
SELECT gaps.gap_us, NULL::timestamptz[] AS times, by_day.days, by_day.spends
FROM gaps, by_day
