WITH bought AS (
    SELECT ticker, sum(CASE side WHEN 'buy' THEN volume ELSE -volume END) AS shares
    FROM trades WHERE state IN ('settled', 'reversed') GROUP BY ticker
)
SELECT 'stock ' || coalesce(s.ticker, b.ticker), (s.listed_volume - coalesce(b.shares, 0))::text, s.volume::text
FROM stocks s FULL JOIN bought b USING (ticker)
WHERE s.listed_volume - coalesce(b.shares, 0) IS DISTINCT FROM s.volume
ORDER BY 1 LIMIT $1
