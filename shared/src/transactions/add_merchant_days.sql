-- A temporary table is read in the order of writing, which is the order of the keys.
INSERT INTO merchant_days AS t SELECT * FROM incoming_merchant_days
ON CONFLICT (merchant_id, day, currency, kind) DO UPDATE SET
    count = t.count + excluded.count,
    sum   = t.sum + excluded.sum,
    min   = least(t.min, excluded.min),
    max   = greatest(t.max, excluded.max)
