-- $1 ids that are recorded, $2 the upload that meets them, $3 and $4 their first and last time: which other
-- uploads brought them, or moved them from pending.
SELECT owner, count(*) FROM (
    SELECT t.source_id AS owner
    -- OFFSET 0 keeps the ids and their keys together: joined to the rows first, keys are thought to be one, and
    -- then every id is compared with every row.
    FROM (SELECT k.* FROM unnest($1::text[]) AS d (id)
          JOIN transaction_keys k ON k.transaction_id = d.id OFFSET 0) AS k
    JOIN transactions t ON t.client_id = k.client_id AND t.occurred_at = k.occurred_at
                       AND t.transaction_id = k.transaction_id
    WHERE t.source = 'upload' AND t.occurred_at BETWEEN $3 AND $4
    UNION ALL
    SELECT m.upload_id FROM unnest($1::text[]) AS d (id) JOIN upload_moves m ON m.transaction_id = d.id
) AS owners
WHERE owner <> $2
GROUP BY owner ORDER BY owner
