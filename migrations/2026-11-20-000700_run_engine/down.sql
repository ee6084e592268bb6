DROP FUNCTION prune_runs, waiting_reasons, expire_runs, close_runs, claim_runs, set_queue_limit;
CREATE OR REPLACE FUNCTION close_runs(p_closings jsonb) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
DECLARE
    held     uuid[];
    parents  uuid[];
    counts   integer[];
BEGIN
    SELECT array_agg(h) INTO held FROM (
        SELECT hold_runs(array_agg((c->>'id')::uuid), array_agg((c->>'token')::uuid)) AS h
        FROM jsonb_array_elements(p_closings) AS c) AS locked;
    IF held IS NULL THEN
        RETURN;
    END IF;

    UPDATE run_attempts a SET
        finished_at = clock_timestamp(),
        outcome     = c.outcome,
        error       = c.error,
        backtrace   = c.backtrace
    FROM jsonb_to_recordset(p_closings) AS c (id uuid, outcome text, error text, backtrace text), runs r
    WHERE c.id = ANY (held) AND r.id = c.id AND a.run_id = r.id AND a.attempt = r.attempt;

    WITH closing AS (
        SELECT c.*, CASE
                WHEN c.outcome = 'interrupted' AND NOT r.cancel_requested THEN 'available'
                WHEN c.outcome IN ('interrupted', 'crashed') AND r.cancel_requested THEN 'cancelled'
                WHEN c.outcome = 'crashed' AND r.crashes < 19 THEN 'available'
                WHEN c.outcome = 'crashed' THEN 'discarded'
                WHEN c.outcome IN ('error', 'timed_out') AND r.cancel_requested THEN 'cancelled'
                WHEN c.outcome IN ('error', 'timed_out') AND r.attempt < r.max_attempts THEN 'retryable'
                WHEN c.outcome IN ('error', 'timed_out') THEN 'discarded'
                ELSE c.outcome END AS next_state
        FROM jsonb_to_recordset(p_closings) AS c (id uuid, outcome text, result jsonb, error text,
                                                  fingerprint text, delay_ms bigint)
        JOIN runs r ON r.id = c.id
        WHERE c.id = ANY (held)
    ), closed AS (
        UPDATE runs r SET
            state        = c.next_state,
            reason       = CASE WHEN c.next_state = 'retryable' THEN 'backoff'
                                WHEN c.outcome IN ('interrupted', 'crashed', 'timed_out')
                                     AND c.next_state <> 'cancelled' THEN c.outcome
                                WHEN c.next_state IN ('failed', 'discarded') THEN 'error' END,
            max_attempts = r.max_attempts + (c.outcome IN ('interrupted', 'crashed'))::integer,
            crashes      = r.crashes + (c.outcome = 'crashed')::integer,
            run_at       = CASE WHEN c.next_state = 'retryable'
                                THEN clock_timestamp() + coalesce(c.delay_ms, 0) * interval '1 millisecond'
                                ELSE r.run_at END,
            claim_token  = NULL,
            worker_id    = NULL,
            result       = coalesce(c.result, r.result),
            error        = CASE WHEN c.next_state = 'completed' THEN NULL ELSE coalesce(c.error, r.error) END,
            fingerprint  = CASE WHEN c.next_state = 'completed' THEN NULL
                                ELSE coalesce(c.fingerprint, r.fingerprint) END,
            finished_at  = CASE WHEN c.next_state IN ('completed', 'failed', 'cancelled', 'discarded')
                                THEN clock_timestamp() END
        FROM closing c WHERE r.id = c.id
        RETURNING r.parent_id, r.state
    ), done AS (
        SELECT parent_id, count(*)::integer AS n FROM closed
        WHERE parent_id IS NOT NULL AND state IN ('completed', 'failed', 'cancelled', 'discarded')
        GROUP BY parent_id
    )
    SELECT array_agg(parent_id ORDER BY parent_id), array_agg(n ORDER BY parent_id)
    INTO parents, counts FROM done;

    PERFORM release_parents(coalesce(parents, '{}'), coalesce(counts, '{}'));
    RETURN QUERY SELECT unnest(held);
END $$;
CREATE OR REPLACE FUNCTION retry_run(p_id uuid, p_kinds text[], p_attempts integer[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    ancestor        uuid;
    ancestor_state  text;
BEGIN
    WITH RECURSIVE again AS (
        SELECT p_id AS id
        UNION ALL
        SELECT r.id FROM runs r JOIN again a ON r.parent_id = a.id
        WHERE r.state IN ('failed', 'discarded', 'cancelled')
    ), waits AS (
        SELECT a.id, (SELECT count(*) FROM runs c WHERE c.parent_id = a.id AND c.state <> 'completed')::integer AS n
        FROM again a
    )
    UPDATE runs r SET
        state            = CASE WHEN w.n > 0 THEN 'blocked' ELSE 'available' END,
        reason           = CASE WHEN w.n > 0 THEN 'dependency' END,
        blocked_by       = w.n,
        max_attempts     = r.attempt + coalesce((SELECT k.attempts FROM unnest(p_kinds, p_attempts) AS k (kind, attempts)
                                                 WHERE k.kind = r.kind), 1),
        crashes          = 0,
        run_at           = now(),
        cancel_requested = false,
        unique_held      = r.unique_key IS NOT NULL,
        result           = NULL,
        error            = NULL,
        fingerprint      = NULL,
        finished_at      = NULL
    FROM waits w WHERE r.id = w.id;

    SELECT parent_id INTO ancestor FROM runs WHERE id = p_id;
    WHILE ancestor IS NOT NULL LOOP
        SELECT state INTO ancestor_state FROM runs WHERE id = ancestor;
        IF ancestor_state IN ('failed', 'discarded', 'cancelled') THEN
            UPDATE runs SET state = 'blocked', reason = 'dependency', blocked_by = blocked_by + 1, error = NULL,
                cancel_requested = false, fingerprint = NULL, finished_at = NULL, result = NULL,
                unique_held = unique_key IS NOT NULL
            WHERE id = ancestor;
            SELECT parent_id INTO ancestor FROM runs WHERE id = ancestor;
        ELSE
            UPDATE runs SET blocked_by = blocked_by + 1 WHERE id = ancestor AND state = 'blocked';
            EXIT;
        END IF;
    END LOOP;
END $$;
CREATE OR REPLACE FUNCTION runs_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state IS DISTINCT FROM OLD.state AND NOT (OLD.state, NEW.state) IN (
        ('scheduled', 'available'), ('scheduled', 'cancelled'),
        ('available', 'running'), ('available', 'cancelled'),
        ('blocked', 'available'), ('blocked', 'failed'), ('blocked', 'cancelled'),
        ('running', 'completed'), ('running', 'failed'), ('running', 'cancelled'),
        ('running', 'discarded'), ('running', 'retryable'), ('running', 'available'),
        ('retryable', 'available'), ('retryable', 'cancelled'),
        ('failed', 'available'), ('failed', 'blocked'),
        ('discarded', 'available'), ('discarded', 'blocked'),
        ('cancelled', 'available'), ('cancelled', 'blocked')) THEN
        RAISE EXCEPTION 'run % cannot go from % to %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'runs_transition';
    END IF;
    IF NEW.unique_held AND (NEW.finished_at IS NOT NULL
        OR (NEW.unique_until = 'started' AND NEW.state = 'running')) THEN
        NEW.unique_held := false;
    END IF;
    RETURN NEW;
END $$;

DROP TABLE failures;
ALTER TABLE run_logs DROP COLUMN line;
UPDATE run_attempts SET outcome = 'interrupted' WHERE outcome = 'snoozed';
ALTER TABLE run_attempts RESET (fillfactor, autovacuum_vacuum_scale_factor),
    DROP CONSTRAINT run_attempts_outcome_check,
    ADD CONSTRAINT run_attempts_outcome_check CHECK (outcome IN ('completed', 'error', 'failed', 'discarded',
        'cancelled', 'interrupted', 'crashed', 'timed_out'));

ALTER TABLE run_attempts ADD FOREIGN KEY (run_id) REFERENCES runs ON DELETE CASCADE;
DROP INDEX runs_claimable, runs_expiring, runs_flow, runs_state, runs_failed, runs_failed_at;
DROP FUNCTION claim_order;
CREATE INDEX runs_claimable ON runs (queue, priority, run_at, id) WHERE state = 'available';
CREATE INDEX runs_flow ON runs (flow_id, id);
CREATE INDEX runs_state ON runs (state, id DESC);
ALTER TABLE runs RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_insert_scale_factor,
                        autovacuum_analyze_scale_factor, autovacuum_vacuum_cost_delay),
    ADD COLUMN unique_until text CHECK (unique_until IN ('started', 'finished')),
    DROP CONSTRAINT runs_reason_check;
UPDATE runs SET unique_until = CASE WHEN 'running' = ANY (unique_states) THEN 'finished' ELSE 'started' END
    WHERE unique_key IS NOT NULL;
UPDATE runs SET reason = CASE reason WHEN 'snoozed' THEN 'interrupted' ELSE 'error' END
    WHERE reason IN ('snoozed', 'expired');
ALTER TABLE runs DROP COLUMN unique_states, DROP COLUMN start_by,
    ADD CHECK ((unique_key IS NULL) = (unique_until IS NULL)),
    ADD CONSTRAINT runs_reason_check CHECK (reason IN ('queue_paused', 'slots_full', 'dependency', 'backoff',
        'interrupted', 'crashed', 'timed_out', 'child_failed', 'error')),
    ADD FOREIGN KEY (worker_id) REFERENCES workers;

DROP FUNCTION is_silent;
ALTER TABLE workers DROP COLUMN slots, DROP COLUMN kinds, DROP COLUMN lease_ms;
DROP TABLE queue_slots, queue_limits;
CREATE TABLE queues (
    name          text PRIMARY KEY,
    paused        boolean NOT NULL DEFAULT false,
    paused_until  timestamptz,
    reason        text
);
INSERT INTO queues SELECT name, true, until, reason FROM pauses WHERE target = 'queue';
DROP FUNCTION is_paused;
DROP TABLE pauses;
