-- $1 client, $2 cash or shares, $3 currency or ticker, $4 $5 $6 the place (time, journal, entry), $7 upwards, $8 rows.
WITH lines AS (
    SELECT j.posted_at, e.journal_id, e.entry, j.kind, j.source_id, e.asset, e.amount,
           sum(e.amount) OVER (ORDER BY j.posted_at, e.journal_id, e.entry)
             + CASE WHEN e.asset_kind = 'cash' AND e.asset = c.currency THEN c.opening_balance ELSE 0 END AS balance
    FROM entries e
    JOIN journals j ON j.id = e.journal_id
    JOIN clients c ON c.client_id = e.client_id
    WHERE e.client_id = $1 AND e.asset_kind = $2 AND e.asset = $3
), page AS (
    SELECT * FROM lines
    WHERE $4 IS NULL
       OR CASE WHEN $7 THEN (posted_at, journal_id, entry) > ($4, $5, $6)
               ELSE (posted_at, journal_id, entry) < ($4, $5, $6) END
    ORDER BY CASE WHEN $7 THEN posted_at END, CASE WHEN $7 THEN journal_id END, CASE WHEN $7 THEN entry END,
             posted_at DESC, journal_id DESC, entry DESC
    LIMIT $8
)
SELECT p.*, t.side, t.volume, t.ticker, t.reversal_of IS NOT NULL AS reverses, u.filename
FROM page p
LEFT JOIN trades t ON p.kind = 'trade' AND t.id = p.source_id
LEFT JOIN uploads u ON p.kind <> 'trade' AND u.id = p.source_id
ORDER BY CASE WHEN $7 THEN p.posted_at END, CASE WHEN $7 THEN p.journal_id END, CASE WHEN $7 THEN p.entry END,
         p.posted_at DESC, p.journal_id DESC, p.entry DESC
