-- For each question one element of $1 client, $2 zone, $3 first and $4 last day that is wanted, $5 currency or NULL,
-- $6 whether spend is net of what was gained. $7: clients with more transactions are not looked at. Subqueries keep from
-- the planner how many questions they are: it would plan for each number anew.
-- For each currency a row with its first and last day, and one with the days that `OWN` finds, in no order, if there are
-- any, from six days before the first: its average needs them. No row: there is no such client. A row without a currency:
-- it has nothing there.
SELECT q.question, active.many, k.*
FROM unnest((SELECT $1::text[]), (SELECT $2::text[]), (SELECT $3::date[]), (SELECT $4::date[]), (SELECT $5::text[]),
            (SELECT $6::boolean[]))
     WITH ORDINALITY AS q(client_id, zone, from_day, to_day, currency, net, question)
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
LEFT JOIN LATERAL (
    SELECT o.currency, (o.first_at AT TIME ZONE q.zone)::date AS first_day, (o.last_at AT TIME ZONE q.zone)::date AS last_day,
           NULL::date[] AS days, NULL::numeric[] AS spends
    FROM client_totals o
    WHERE o.client_id = q.client_id AND (q.currency IS NULL OR o.currency = q.currency)
    UNION ALL
    SELECT own.currency, NULL, NULL, own.days, own.spends
    FROM (OWN) AS own
) AS k ON true
