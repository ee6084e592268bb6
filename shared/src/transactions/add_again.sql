-- Adds the rows of the temporary table `leaving`, which are pending again, to the summaries, in the one
-- lock order. :zone is the reporting zone.
INSERT INTO merchant_days AS t (merchant_id, day, currency, kind, count, sum, min, max)
SELECT merchant_id, (occurred_at AT TIME ZONE :zone)::date AS day, currency, kind,
       count(*), sum(amount), min(amount), max(amount)
FROM leaving WHERE merchant_id IS NOT NULL GROUP BY 1, 2, 3, 4
ORDER BY merchant_id COLLATE "C", day, currency COLLATE "C", kind COLLATE "C"
ON CONFLICT (merchant_id, day, currency, kind) DO UPDATE SET
    count = t.count + excluded.count, sum = t.sum + excluded.sum,
    min = least(t.min, excluded.min), max = greatest(t.max, excluded.max);
INSERT INTO client_totals AS t (client_id, currency, count, sum, spent, gained, sum_squares, min, max, first_at, last_at)
SELECT client_id, currency, count(*), sum(amount),
       coalesce(sum(amount) FILTER (WHERE kind IN ('buy', 'payment')), 0),
       coalesce(sum(amount) FILTER (WHERE kind IN ('sell', 'refund')), 0),
       sum(amount * amount), min(amount), max(amount), min(occurred_at), max(occurred_at)
FROM leaving GROUP BY 1, 2 ORDER BY client_id COLLATE "C", currency COLLATE "C"
ON CONFLICT (client_id, currency) DO UPDATE SET
    count = t.count + excluded.count, sum = t.sum + excluded.sum, spent = t.spent + excluded.spent,
    gained = t.gained + excluded.gained, sum_squares = t.sum_squares + excluded.sum_squares,
    min = least(t.min, excluded.min), max = greatest(t.max, excluded.max),
    first_at = least(t.first_at, excluded.first_at), last_at = greatest(t.last_at, excluded.last_at);
INSERT INTO day_totals AS t (day, currency, kind, status, count, sum, min, max)
SELECT (occurred_at AT TIME ZONE :zone)::date AS day, currency, kind, status,
       count(*), sum(amount), min(amount), max(amount)
FROM leaving GROUP BY 1, 2, 3, 4
ORDER BY day, currency COLLATE "C", kind COLLATE "C", status COLLATE "C"
ON CONFLICT (day, currency, kind, status) DO UPDATE SET
    count = t.count + excluded.count, sum = t.sum + excluded.sum,
    min = least(t.min, excluded.min), max = greatest(t.max, excluded.max);
