-- $1 who lists them, then the columns of the stocks. Of a ticker that is taken nothing is inserted: it uses up no
-- number, unless it was taken just now.
INSERT INTO stocks (ticker, name, currency, open_price, close_price, high, low, volume, listed_volume, created_by)
SELECT ticker, name, currency, open_price, close_price, high, low, volume, volume, $1
FROM unnest($2::text[], $3::text[], $4::text[], $5::numeric[], $6::numeric[], $7::numeric[], $8::numeric[], $9::bigint[])
     AS i (ticker, name, currency, open_price, close_price, high, low, volume)
WHERE NOT EXISTS (SELECT 1 FROM stocks s WHERE s.ticker = i.ticker)
ORDER BY ticker COLLATE "C"
ON CONFLICT (ticker) DO NOTHING RETURNING ticker
