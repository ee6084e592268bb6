-- For each question one element of $1 client, $2 from, $3 until, $4 currency or NULL, $5 kind or NULL, $6 whether what
-- was gained is negative. $7: clients with more transactions are not looked at. Subqueries keep from the planner how many
-- questions they are: it would plan for each number anew.
-- No row: there is no such client. A row without a currency: it has no transactions there, or `many`. Read from the
-- covering index, within the client's first and last transaction: a month outside is neither opened nor searched.
SELECT q.question, active.many, s.*
FROM unnest((SELECT $1::text[]), (SELECT $2::timestamptz[]), (SELECT $3::timestamptz[]), (SELECT $4::text[]),
            (SELECT $5::text[]), (SELECT $6::boolean[]))
     WITH ORDINALITY AS q(client_id, from_at, until, currency, kind, signed, question)
JOIN clients c ON c.client_id = q.client_id
CROSS JOIN LATERAL (
    SELECT min(t.first_at) AS first_at, max(t.last_at) AS last_at,
           coalesce(sum(t.count), 0) + coalesce((SELECT f.count FROM client_failures f WHERE f.client_id = q.client_id), 0)
               > $7::bigint AS many
    FROM client_totals t
    WHERE t.client_id = q.client_id
) AS active
LEFT JOIN LATERAL (
    SELECT currency, count(*) AS count, sum(value)::numeric(28,4) AS sum, min(value) AS min, max(value) AS max
    FROM (
        SELECT t.currency, CASE WHEN q.signed AND t.kind IN ('sell', 'refund') THEN -t.amount ELSE t.amount END AS value
        FROM transactions t
        WHERE NOT active.many AND t.client_id = q.client_id AND t.occurred_at >= greatest(q.from_at, active.first_at)
          AND t.occurred_at < q.until AND t.occurred_at <= active.last_at AND t.status <> 'failed'
          AND (q.currency IS NULL OR t.currency = q.currency) AND (q.kind IS NULL OR t.kind = q.kind)
    ) AS amounts
    GROUP BY currency
) AS s ON true
ORDER BY q.question, s.currency COLLATE "C"
