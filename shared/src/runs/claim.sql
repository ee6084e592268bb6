-- $1 queue, $2 worker, $3 limit, $4 kinds that the worker knows (an older version leaves newer kinds
-- to newer workers). A paused queue and a worker that was declared dead get nothing.
WITH due AS (
    SELECT id FROM runs
    WHERE queue = $1 AND state = 'available' AND run_at <= now() AND kind = ANY ($4)
      AND NOT EXISTS (SELECT 1 FROM queues q WHERE q.name = $1 AND q.paused
                      AND (q.paused_until IS NULL OR q.paused_until > now()))
      AND EXISTS (SELECT 1 FROM workers w WHERE w.id = $2 AND w.state = 'alive')
    ORDER BY priority, run_at, id
    LIMIT $3
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE runs r SET
        state       = 'running',
        reason      = NULL,
        claim_token = gen_random_uuid(),
        worker_id   = $2,
        attempt     = r.attempt + 1,
        started_at  = coalesce(r.started_at, now())
    FROM due WHERE r.id = due.id
    RETURNING r.id, r.kind, r.args, r.attempt, r.max_attempts, r.claim_token, r.parent_id, r.flow_id,
              r.priority, r.run_at
), opened AS (
    INSERT INTO run_attempts (run_id, attempt, worker_id) SELECT id, attempt, $2 FROM claimed
)
SELECT id, kind, args, attempt, max_attempts, claim_token, parent_id, flow_id
FROM claimed ORDER BY priority, run_at, id
