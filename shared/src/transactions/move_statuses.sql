-- $1 ids that are recorded, $2 their new statuses, $3 and $4 their first and last time; returns the ids with what
-- now moves in the account, in units. OFFSET 0 as in owners.sql.
UPDATE transactions t SET status = m.status
FROM (SELECT m.id, m.status, k.client_id, k.occurred_at
      FROM unnest($1::text[], $2::text[]) AS m (id, status)
      JOIN transaction_keys k ON k.transaction_id = m.id OFFSET 0) AS m
WHERE t.transaction_id = m.id AND t.client_id = m.client_id
  AND t.occurred_at = m.occurred_at AND t.occurred_at BETWEEN $3 AND $4
RETURNING m.id, CASE WHEN t.status = 'success' THEN (t.account_amount * 10000)::numeric(24,0)::text END
