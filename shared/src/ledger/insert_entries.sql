-- $1 journal: what each client is owed, and the same against the clearing account of each currency.
INSERT INTO entries (journal_id, entry, amount, account, client_id, asset_kind, asset)
SELECT $1, row_number() OVER (ORDER BY account, client_id, currency), amount, account, client_id, 'cash', currency
FROM (
    SELECT 'client' AS account, client_id, currency, amount FROM owed
    UNION ALL
    SELECT 'clearing', NULL, currency, -sum(amount) FROM owed GROUP BY currency HAVING sum(amount) <> 0
) AS lines
