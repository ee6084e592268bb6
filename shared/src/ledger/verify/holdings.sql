WITH traded AS (
    SELECT client_id, ticker, sum(volume * sign) AS shares, sum(cost * sign) AS cost, sum(realised) AS realised
    FROM (SELECT *, CASE side WHEN 'buy' THEN 1 ELSE -1 END AS sign FROM trades WHERE state IN ('settled', 'reversed')) AS t
    GROUP BY client_id, ticker
), posted AS (
    SELECT client_id, asset AS ticker, sum(amount) AS shares FROM entries
    WHERE client_id IS NOT NULL AND asset_kind = 'shares' GROUP BY client_id, asset
)
SELECT 'client ' || client_id || ', ' || ticker,
       coalesce(t.shares, 0) || ' shares that cost ' || coalesce(t.cost, 0) || ', realised ' || coalesce(t.realised, 0)
         || ' by trades, ' || coalesce(trim_scale(p.shares), 0) || ' shares by entries',
       coalesce(h.shares, 0) || ' shares that cost ' || coalesce(h.cost, 0) || ', realised ' || coalesce(h.realised, 0)
FROM holdings h FULL JOIN traded t USING (client_id, ticker) FULL JOIN posted p USING (client_id, ticker)
WHERE coalesce(h.shares, 0) <> coalesce(t.shares, 0) OR coalesce(h.cost, 0) <> coalesce(t.cost, 0)
   OR coalesce(h.realised, 0) <> coalesce(t.realised, 0) OR coalesce(h.shares, 0) <> coalesce(p.shares, 0)
ORDER BY client_id, ticker LIMIT $1
