-- Puts attempts on record before their providers are asked: for claims that hold, deliveries that are still
-- to be sent, and none that has an open attempt.
INSERT INTO delivery_attempts (delivery_id, number, run_attempt, provider, outcome)
SELECT a.delivery_id,
       1 + coalesce((SELECT max(t.number) FROM delivery_attempts t WHERE t.delivery_id = a.delivery_id), 0),
       a.run_attempt, a.provider, 'sending'
FROM unnest($1::uuid[], $3::uuid[], $4::integer[], $5::text[]) AS a (run_id, delivery_id, run_attempt, provider)
JOIN (SELECT hold_runs($1, $2) AS id) AS held ON held.id = a.run_id
JOIN deliveries d ON d.id = a.delivery_id AND d.run_id = a.run_id AND d.state = 'pending'
WHERE NOT EXISTS (
    SELECT 1 FROM delivery_attempts t WHERE t.delivery_id = a.delivery_id AND t.outcome = 'sending')
RETURNING delivery_id, number
