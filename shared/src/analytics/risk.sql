-- For each question one element of $1 client, $2 whether spend is net of what was gained; for spend by day as well
-- $3 zone, $4 first and $5 last day, $6 currency (NULL: no days), from six days before the first. $7: clients with more
-- transactions are not looked at. Subqueries keep from the planner how many questions they are: it would plan for each
-- number anew.
-- A row for each currency, and one without a currency for what `OWN` finds in all transactions. No row: there is no such
-- client. All of it, the count of changes too, is of one snapshot, and reads the client's transactions once, however many
-- currencies there are.
SELECT q.question, active.many, q.net, k.*, (SELECT coalesce(sum(changes), 0)::bigint FROM summary_changes) AS changes
FROM unnest((SELECT $1::text[]), (SELECT $2::boolean[]), (SELECT $3::text[]), (SELECT $4::date[]), (SELECT $5::date[]),
            (SELECT $6::text[]))
     WITH ORDINALITY AS q(client_id, net, zone, from_day, to_day, days_of, question)
JOIN clients c ON c.client_id = q.client_id
CROSS JOIN LATERAL (
    SELECT min(t.first_at) AS first_at, max(t.last_at) AS last_at,
           coalesce(sum(t.count), 0) + coalesce((SELECT f.count FROM client_failures f WHERE f.client_id = q.client_id), 0)
               > $7::bigint AS many,
           (q.from_day - 6)::timestamp AT TIME ZONE q.zone AS days_from,
           (q.to_day + 1)::timestamp AT TIME ZONE q.zone AS days_until
    FROM client_totals t
    WHERE t.client_id = q.client_id
) AS active
CROSS JOIN LATERAL (
    SELECT o.currency, o.count, CASE WHEN q.net THEN o.spent - o.gained ELSE o.spent END AS spend, o.sum,
           (o.sum_squares * 100000000)::numeric(60,0)::text AS square_units, o.max, o.first_at, o.last_at,
           NULL::bigint AS gap_us, NULL::timestamptz[] AS times, NULL::date[] AS days, NULL::numeric[] AS spends
    FROM client_totals o
    WHERE o.client_id = q.client_id
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, own.gap_us, own.times, own.days, own.spends
    FROM (OWN) AS own
) AS k
