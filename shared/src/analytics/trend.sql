-- For each question one element of $1 client, $2 zone, $3 first and $4 last day that is wanted, $5 currency or NULL,
-- $6 whether spend is net of what was gained. $7: clients with more transactions are not looked at. Subqueries keep from
-- the planner how many questions they are: it would plan for each number anew.
-- The days with transactions and what was spent on each, in no order, a row for each currency, from six days before the
-- first: its average needs them. No row: there is no such client. A row without days: nothing happened then, or at all,
-- or `many`.
SELECT q.question, active.many, k.currency, (k.first_at AT TIME ZONE q.zone)::date AS first_day,
       (k.last_at AT TIME ZONE q.zone)::date AS last_day, k.days, k.spends
FROM unnest((SELECT $1::text[]), (SELECT $2::text[]), (SELECT $3::date[]), (SELECT $4::date[]), (SELECT $5::text[]),
            (SELECT $6::boolean[]))
     WITH ORDINALITY AS q(client_id, zone, from_day, to_day, currency, net, question)
JOIN clients c ON c.client_id = q.client_id
CROSS JOIN LATERAL (
    SELECT min(t.first_at) AS first_at, max(t.last_at) AS last_at,
           coalesce(sum(t.count), 0) + coalesce((SELECT f.count FROM client_failures f WHERE f.client_id = q.client_id), 0)
               > $7::bigint AS many
    FROM client_totals t
    WHERE t.client_id = q.client_id
) AS active
LEFT JOIN LATERAL (
    WITH by_day AS MATERIALIZED (
        SELECT t.currency, (t.occurred_at AT TIME ZONE q.zone)::date AS day,
               sum(CASE WHEN t.kind IN ('buy', 'payment') THEN t.amount WHEN q.net THEN -t.amount ELSE 0 END)::numeric(28,4) AS spend
        FROM transactions t
        WHERE NOT active.many AND t.client_id = q.client_id
          AND t.occurred_at >= greatest((q.from_day - 6)::timestamp AT TIME ZONE q.zone, active.first_at)
          AND t.occurred_at < (q.to_day + 1)::timestamp AT TIME ZONE q.zone AND t.occurred_at <= active.last_at
          AND t.status <> 'failed' AND (q.currency IS NULL OR t.currency = q.currency)
        GROUP BY 1, 2
    ), by_currency AS MATERIALIZED (
        SELECT currency, array_agg(day) AS days, array_agg(spend) AS spends
        FROM by_day
        GROUP BY currency
    )
    SELECT o.currency, o.first_at, o.last_at, b.days, b.spends
    FROM client_totals o
    LEFT JOIN by_currency b ON b.currency = o.currency
    WHERE o.client_id = q.client_id AND (q.currency IS NULL OR o.currency = q.currency)
) AS k ON true
ORDER BY q.question, k.currency COLLATE "C"
