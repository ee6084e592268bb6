-- For each question one element of $1 client, $2 whether spend is net of what was gained; for spend by day as well
-- $3 zone, $4 first and $5 last day, $6 currency (NULL: no days), from six days before the first. $7: clients with more
-- transactions are not looked at. Subqueries keep from the planner how many questions they are: it would plan for each
-- number anew.
-- No row: there is no such client. A row without a currency: it has no transactions. All of it, the count of changes
-- too, is of one snapshot, and reads the client's transactions once, however many currencies there are. The shortest gap
-- is over those in all currencies.
SELECT q.question, active.many, q.net, k.*, (SELECT coalesce(sum(changes), 0)::bigint FROM summary_changes) AS changes
FROM unnest((SELECT $1::text[]), (SELECT $2::boolean[]), (SELECT $3::text[]), (SELECT $4::date[]), (SELECT $5::date[]),
            (SELECT $6::text[]))
     WITH ORDINALITY AS q(client_id, net, zone, from_day, to_day, days_of, question)
JOIN clients c ON c.client_id = q.client_id
CROSS JOIN LATERAL (
    SELECT min(t.first_at) AS first_at, max(t.last_at) AS last_at,
           coalesce(sum(t.count), 0) + coalesce((SELECT f.count FROM client_failures f WHERE f.client_id = q.client_id), 0)
               > $7::bigint AS many
    FROM client_totals t
    WHERE t.client_id = q.client_id
) AS active
LEFT JOIN LATERAL (
    WITH own AS MATERIALIZED (
        SELECT t.occurred_at, t.currency, t.kind, t.amount
        FROM transactions t
        WHERE NOT active.many AND t.client_id = q.client_id
          AND t.occurred_at BETWEEN active.first_at AND active.last_at AND t.status <> 'failed'
    ), gaps AS MATERIALIZED (
        SELECT (extract(epoch FROM min(gap)) * 1000000)::bigint AS gap_us
        FROM (SELECT occurred_at - lag(occurred_at) OVER (ORDER BY occurred_at) AS gap FROM own) AS between_two
    ), by_day AS MATERIALIZED (
        SELECT array_agg(day) AS days, array_agg(spend) AS spends
        FROM (
            SELECT (occurred_at AT TIME ZONE q.zone)::date AS day,
                   sum(CASE WHEN kind IN ('buy', 'payment') THEN amount WHEN q.net THEN -amount ELSE 0 END)::numeric(28,4) AS spend
            FROM own
            WHERE currency = q.days_of AND occurred_at >= (q.from_day - 6)::timestamp AT TIME ZONE q.zone
              AND occurred_at < (q.to_day + 1)::timestamp AT TIME ZONE q.zone
            GROUP BY 1
        ) AS spent
    )
    SELECT o.currency, o.count, CASE WHEN q.net THEN o.spent - o.gained ELSE o.spent END AS spend, o.sum,
           (o.sum_squares * 100000000)::numeric(60,0)::text AS square_units, o.max, o.first_at, o.last_at,
           gaps.gap_us, by_day.days, by_day.spends
    FROM client_totals o, gaps, by_day
    WHERE o.client_id = q.client_id
) AS k ON true
