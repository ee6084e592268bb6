WITH moved AS (
    SELECT t.id, j.id AS journal_id, t.client_id, t.ticker, t.account_currency, t.volume,
           t.account_amount * CASE t.side WHEN 'buy' THEN -1 ELSE 1 END AS cash,
           t.volume * CASE t.side WHEN 'buy' THEN 1 ELSE -1 END AS shares
    FROM trades t LEFT JOIN journals j ON j.source_id = t.id AND j.kind = 'trade'
    WHERE t.state IN ('settled', 'reversed')
), expected AS (
    SELECT m.journal_id, m.id AS trade, e.* FROM moved m, LATERAL (VALUES
        (1, 'client',   m.client_id, 'cash',   m.account_currency, m.cash),
        (2, 'clearing', NULL,        'cash',   m.account_currency, -m.cash),
        (3, 'client',   m.client_id, 'shares', m.ticker,           m.shares),
        (4, 'clearing', NULL,        'shares', m.ticker,           -m.shares)
    ) AS e (entry, account, client_id, asset_kind, asset, amount) WHERE e.amount <> 0
), posted AS (
    SELECT j.source_id AS trade, e.* FROM journals j JOIN entries e ON e.journal_id = j.id WHERE j.kind = 'trade'
)
SELECT 'entry ' || coalesce(p.entry, x.entry) || ' of journal ' || coalesce(p.journal_id::text, x.journal_id::text, 'none')
         || ' (trade ' || coalesce(x.trade, p.trade) || ')',
       x.account || coalesce(' ' || x.client_id, '') || ' ' || trim_scale(x.amount) || ' ' || x.asset,
       p.account || coalesce(' ' || p.client_id, '') || ' ' || trim_scale(p.amount) || ' ' || p.asset
FROM expected x FULL JOIN posted p ON p.journal_id = x.journal_id AND p.entry = x.entry
WHERE (x.trade, x.account, x.client_id, x.asset_kind, x.asset, x.amount)
      IS DISTINCT FROM (p.trade, p.account, p.client_id, p.asset_kind, p.asset, p.amount)
ORDER BY coalesce(p.journal_id, x.journal_id), coalesce(p.entry, x.entry) LIMIT $1
