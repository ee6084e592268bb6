-- $1 currency, $2 reporting zone, $3 and $4 the first and the last whole day, $5 and $6 where the rows before those
-- days lie at most, $7 and $8 where those after them do.
SELECT coalesce(sum(p.count), 0)::bigint AS count, coalesce(sum(p.sum), 0) AS sum, min(a.first_at) AS first_at,
       max(a.last_at) AS last_at
FROM (
    SELECT sum(count) AS count, sum(CASE WHEN kind IN ('sell', 'refund') THEN -sum ELSE sum END) AS sum
    FROM day_totals WHERE currency = $1 AND day BETWEEN $3 AND $4
    UNION ALL
    SELECT count(*), sum(CASE WHEN kind IN ('sell', 'refund') THEN -amount ELSE amount END)
    FROM transactions
    WHERE currency = $1 AND occurred_at >= $5 AND occurred_at < $6 AND (occurred_at AT TIME ZONE $2)::date < $3
    UNION ALL
    SELECT count(*), sum(CASE WHEN kind IN ('sell', 'refund') THEN -amount ELSE amount END)
    FROM transactions
    WHERE currency = $1 AND occurred_at >= $7 AND occurred_at < $8
      AND (occurred_at AT TIME ZONE $2)::date > $4 AND (occurred_at AT TIME ZONE $2)::date >= $3
) AS p, (
    SELECT min(first_at) AS first_at, max(last_at) AS last_at
    FROM (SELECT first_at, last_at FROM client_totals UNION ALL SELECT first_at, last_at FROM client_failures) AS c
) AS a
