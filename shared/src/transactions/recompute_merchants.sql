-- $1 merchants, $2 days, $3 currencies, $4 kinds (one total each), $5 zone, $6 first day, $7 last day.
WITH keys AS (
    SELECT * FROM unnest($1::text[], $2::date[], $3::text[], $4::text[]) AS k (merchant_id, day, currency, kind)
), counted AS (
    SELECT k.*, count(*) AS count, sum(t.amount) AS sum, min(t.amount) AS min, max(t.amount) AS max
    FROM transactions t
    JOIN keys k ON k.merchant_id = t.merchant_id AND k.day = (t.occurred_at AT TIME ZONE $5)::date
               AND k.currency = t.currency AND k.kind = t.kind
    WHERE t.status <> 'failed'
      AND t.occurred_at >= $6::date::timestamp AT TIME ZONE $5
      AND t.occurred_at < ($7::date + 1)::timestamp AT TIME ZONE $5
    GROUP BY k.merchant_id, k.day, k.currency, k.kind
), emptied AS (
    DELETE FROM merchant_days d USING keys k
    WHERE (d.merchant_id, d.day, d.currency, d.kind) = (k.merchant_id, k.day, k.currency, k.kind)
      AND NOT EXISTS (SELECT 1 FROM counted c
                      WHERE (c.merchant_id, c.day, c.currency, c.kind) = (k.merchant_id, k.day, k.currency, k.kind))
)
UPDATE merchant_days d SET count = c.count, sum = c.sum, min = c.min, max = c.max
FROM counted c
WHERE (d.merchant_id, d.day, d.currency, d.kind) = (c.merchant_id, c.day, c.currency, c.kind)
