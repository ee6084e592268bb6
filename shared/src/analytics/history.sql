-- For each question one element of $1 client, $2 from, $3 until, $4 currency or NULL, $5 whether spend is net of what was
-- gained, $6 whether what was spent is wanted as well as when. Subqueries keep from the planner how many they are: it
-- would plan for each number anew.
-- A client's totals by currency beside the times of its transactions then, and what was spent at each, in no order.
-- No row: there is no such client. A row without a currency: it has no transactions. All of it, the count of changes
-- too, is of one snapshot. Read from the covering index, within the client's first and last transaction: a month
-- outside is neither opened nor searched.
SELECT q.question, q.net, k.*, (SELECT coalesce(sum(changes), 0)::bigint FROM summary_changes) AS changes
FROM unnest((SELECT $1::text[]), (SELECT $2::timestamptz[]), (SELECT $3::timestamptz[]), (SELECT $4::text[]),
            (SELECT $5::boolean[]), (SELECT $6::boolean[]))
     WITH ORDINALITY AS q(client_id, from_at, until, currency, net, spends, question)
JOIN clients c ON c.client_id = q.client_id
LEFT JOIN LATERAL (
    WITH own AS MATERIALIZED (
        SELECT t.currency, array_agg(t.occurred_at) AS times,
               array_agg(CASE WHEN t.kind IN ('buy', 'payment') THEN t.amount WHEN q.net THEN -t.amount ELSE 0.0000 END)
                   FILTER (WHERE q.spends) AS spends
        FROM (SELECT min(first_at) AS first_at, max(last_at) AS last_at FROM client_totals
              WHERE client_id = q.client_id) AS active
        JOIN transactions t ON t.client_id = q.client_id AND t.occurred_at >= greatest(q.from_at, active.first_at)
                           AND t.occurred_at < least(q.until, active.last_at + interval '1 microsecond')
        WHERE t.status <> 'failed' AND (q.currency IS NULL OR t.currency = q.currency)
        GROUP BY t.currency
    )
    SELECT o.currency, o.count, CASE WHEN q.net THEN o.spent - o.gained ELSE o.spent END AS spend, o.sum,
           (o.sum_squares * 100000000)::numeric(60,0)::text AS square_units, o.max, o.first_at, o.last_at,
           own.times, own.spends
    FROM client_totals o
    LEFT JOIN own ON own.currency = o.currency
    WHERE o.client_id = q.client_id AND (q.currency IS NULL OR o.currency = q.currency)
) AS k ON true
