-- A temporary table is read in the order of writing, which is the order of the keys.
INSERT INTO client_totals AS t SELECT * FROM incoming_client_totals
ON CONFLICT (client_id, currency) DO UPDATE SET
    count       = t.count + excluded.count,
    sum         = t.sum + excluded.sum,
    min         = least(t.min, excluded.min),
    max         = greatest(t.max, excluded.max),
    spent       = t.spent + excluded.spent,
    gained      = t.gained + excluded.gained,
    sum_squares = t.sum_squares + excluded.sum_squares,
    first_at    = least(t.first_at, excluded.first_at),
    last_at     = greatest(t.last_at, excluded.last_at)
