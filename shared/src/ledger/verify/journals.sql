SELECT 'journal ' || journal_id || ', ' || asset, '0', sum(amount)::text
FROM entries GROUP BY journal_id, asset_kind, asset HAVING sum(amount) <> 0
ORDER BY journal_id, asset LIMIT $1
