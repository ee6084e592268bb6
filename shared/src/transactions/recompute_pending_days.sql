-- $1 days, $2 currencies, $3 kinds (one total each), $4 zone, $5 first day, $6 last day.
WITH keys AS (
    SELECT * FROM unnest($1::date[], $2::text[], $3::text[]) AS k (day, currency, kind)
), counted AS (
    SELECT k.day, k.currency, k.kind, count(*) AS count, sum(t.amount) AS sum, min(t.amount) AS min, max(t.amount) AS max
    FROM transactions t
    JOIN keys k ON k.day = (t.occurred_at AT TIME ZONE $4)::date AND k.currency = t.currency AND k.kind = t.kind
    WHERE t.status = 'pending'
      AND t.occurred_at >= $5::date::timestamp AT TIME ZONE $4
      AND t.occurred_at < ($6::date + 1)::timestamp AT TIME ZONE $4
    GROUP BY k.day, k.currency, k.kind
), emptied AS (
    DELETE FROM day_totals d USING keys k
    WHERE d.day = k.day AND d.currency = k.currency AND d.kind = k.kind AND d.status = 'pending'
      AND NOT EXISTS (SELECT 1 FROM counted c WHERE (c.day, c.currency, c.kind) = (k.day, k.currency, k.kind))
)
UPDATE day_totals d SET count = c.count, sum = c.sum, min = c.min, max = c.max
FROM counted c
WHERE d.day = c.day AND d.currency = c.currency AND d.kind = c.kind AND d.status = 'pending'
