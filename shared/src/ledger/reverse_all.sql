ANALYZE reversals;
-- Before anything is posted: of one account, the order of the journals' times is that in which it moved.
SELECT FROM clients
WHERE client_id IN (SELECT e.client_id FROM entries e JOIN reversals r ON r.reversed = e.journal_id)
ORDER BY client_id FOR NO KEY UPDATE;

INSERT INTO journals (id, kind, source_id, part, reversal_of)
SELECT r.journal_id, j.kind || '_reversal', j.source_id, j.part, j.id
FROM reversals r JOIN journals j ON j.id = r.reversed ORDER BY r.journal_id;

INSERT INTO entries (journal_id, entry, amount, account, client_id, asset_kind, asset)
SELECT r.journal_id, e.entry, -e.amount, e.account, e.client_id, e.asset_kind, e.asset
FROM reversals r JOIN entries e ON e.journal_id = r.reversed;

UPDATE clients c SET position = c.position + m.amount
FROM (SELECT e.client_id, sum(e.amount) AS amount
      FROM reversals r JOIN entries e ON e.journal_id = r.journal_id
      WHERE e.client_id IS NOT NULL AND e.asset_kind = 'cash' GROUP BY e.client_id) AS m
WHERE c.client_id = m.client_id;
