-- The run engine deepened: pauses, global limits, ageing, why a run waits, snoozing, waiting no longer
-- than wished, failures by fingerprint, pruning.

-- Who is paused: a queue or a kind, until a time or until somebody resumes it. Runs that are already
-- running go on. A row whose time is over counts for nothing.
CREATE TABLE pauses (
    target     text NOT NULL CHECK (target IN ('queue', 'kind')),
    name       text NOT NULL,
    until      timestamptz,
    reason     text,
    paused_by  text NOT NULL,
    paused_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (target, name)
);
CREATE FUNCTION is_paused(p_target text, p_name text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT 1 FROM pauses WHERE target = p_target AND name = p_name
                   AND (until IS NULL OR until > now()))
$$;

INSERT INTO pauses (target, name, until, reason, paused_by)
    SELECT 'queue', name, paused_until, reason, 'migration' FROM queues WHERE paused;
DROP TABLE queues;

-- How many runs of a queue may run at once on all workers together. As many rows in queue_slots can be
-- taken; a run that is claimed takes one and gives it back in the transaction that ends its attempt,
-- whoever ends it: a dead worker holds none once its runs are rescued (test:
-- a_global_limit_holds_whatever_dies). Counting instead would let two claims pass at once.
CREATE TABLE queue_limits (
    queue       text PRIMARY KEY,
    max_running integer NOT NULL CHECK (max_running > 0)
);
CREATE TABLE queue_slots (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue    text NOT NULL REFERENCES queue_limits ON DELETE CASCADE,
    run_id   uuid UNIQUE,
    surplus  boolean NOT NULL DEFAULT false,   -- the limit was lowered: goes when it is given back
    CHECK (NOT surplus OR run_id IS NOT NULL)
);
CREATE INDEX queue_slots_free ON queue_slots (queue, id) WHERE run_id IS NULL;

-- Sets or lifts (NULL) a queue's limit. What runs already counts; what is too much may end in peace.
-- The lock keeps claims of the queue out meanwhile: they hold it shared.
CREATE FUNCTION set_queue_limit(p_queue text, p_limit integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('queue ' || p_queue, 0));
    IF p_limit IS NULL THEN
        DELETE FROM queue_limits WHERE queue = p_queue;
        RETURN;
    END IF;
    INSERT INTO queue_limits VALUES (p_queue, p_limit) ON CONFLICT (queue) DO UPDATE SET max_running = p_limit;
    -- Lets go of what ends in this moment: closings lock the run, then its slot.
    PERFORM 1 FROM runs WHERE queue = p_queue AND state = 'running' ORDER BY id FOR NO KEY UPDATE;
    DELETE FROM queue_slots WHERE queue = p_queue;
    INSERT INTO queue_slots (queue, run_id, surplus)
        SELECT p_queue, id, row_number() OVER (ORDER BY id) > p_limit
        FROM runs WHERE queue = p_queue AND state = 'running';
    INSERT INTO queue_slots (queue)
        SELECT p_queue FROM generate_series(1 + (SELECT count(*) FROM queue_slots WHERE queue = p_queue), p_limit);
END $$;

-- What a worker offers: slots by queue, the kinds it knows; and its own lease, by which it is judged.
ALTER TABLE workers
    ADD COLUMN slots jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN kinds text[] NOT NULL DEFAULT '{}',
    ADD COLUMN lease_ms integer NOT NULL DEFAULT 20000 CHECK (lease_ms > 0);

-- A worker has said nothing for its whole lease (or is gone).
CREATE FUNCTION is_silent(w workers) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT w.last_seen < now() - w.lease_ms * interval '1 millisecond'
$$;

ALTER TABLE runs
    ADD COLUMN start_by      timestamptz,   -- discarded if it has not begun by then
    ADD COLUMN unique_states text[],        -- while in these, the key excludes others
    -- A claim wrote it in the same statement; checking it again took a lock on the worker's row each
    -- time. A worker's row is only pruned when no run points there.
    DROP CONSTRAINT runs_worker_id_fkey,
    DROP CONSTRAINT runs_reason_check;
UPDATE runs SET unique_states = CASE unique_until
    WHEN 'started' THEN '{scheduled,available,blocked,retryable}'::text[]
    ELSE '{scheduled,available,blocked,retryable,running}' END WHERE unique_key IS NOT NULL;
UPDATE runs SET reason = NULL WHERE reason IN ('queue_paused', 'slots_full');
ALTER TABLE runs
    DROP COLUMN unique_until,
    ADD CONSTRAINT runs_unique_check CHECK ((unique_key IS NULL) = (unique_states IS NULL)),
    -- Why it waits for a time, or how it ended. Why it waits for a slot depends on others and is not
    -- stored: see waiting_reasons.
    ADD CONSTRAINT runs_reason_check CHECK (reason IN ('dependency', 'backoff', 'snoozed', 'interrupted',
        'crashed', 'timed_out', 'expired', 'child_failed', 'error'));

-- Ageing: a point of priority is worth a minute of waiting. What is urgent goes first, and what is not
-- is overtaken only by runs that came a bounded time later: nothing starves
-- (test: low_priority_waits_a_bounded_time).
-- Written so that every part is immutable: PostgreSQL then puts the expression itself into index and
-- queries, instead of calling a function for each row.
CREATE FUNCTION claim_order(run_at timestamptz, priority smallint) RETURNS timestamp
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT (run_at AT TIME ZONE 'UTC') + priority * interval '1 minute' $$;

DROP INDEX runs_claimable, runs_state, runs_flow;
CREATE INDEX runs_claimable ON runs (queue, claim_order(run_at, priority), id) WHERE state = 'available';
CREATE INDEX runs_expiring ON runs (start_by) WHERE state = 'available' AND start_by IS NOT NULL;
-- Most runs are flows of their own, and are found by their ids.
CREATE INDEX runs_flow ON runs (flow_id, id) WHERE flow_id <> id;
-- Most runs are completed, and are found by their ids.
CREATE INDEX runs_state ON runs (state, id DESC) WHERE state <> 'completed';
CREATE INDEX runs_failed ON runs (fingerprint, finished_at DESC) WHERE state IN ('failed', 'discarded');
CREATE INDEX runs_failed_at ON runs (finished_at DESC) WHERE state IN ('failed', 'discarded');
-- Rows are rewritten at each step of a run's life: dead ones must go soon.
ALTER TABLE runs SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1,
                      autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 1);
-- As with runs.worker_id: a claim writes run and attempt in one statement, and pruning deletes both.
ALTER TABLE run_attempts DROP CONSTRAINT run_attempts_run_id_fkey;
ALTER TABLE run_attempts SET (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.05);

ALTER TABLE run_attempts DROP CONSTRAINT run_attempts_outcome_check,
    ADD CONSTRAINT run_attempts_outcome_check CHECK (outcome IN ('completed', 'error', 'failed', 'discarded',
        'cancelled', 'interrupted', 'snoozed', 'crashed', 'timed_out'));

-- Lines are numbered within their attempt; the newest are kept, a gap says how many are not.
ALTER TABLE run_logs ADD COLUMN line integer;
UPDATE run_logs l SET line = n.line FROM
    (SELECT id, row_number() OVER (PARTITION BY run_id, attempt ORDER BY id) AS line FROM run_logs) AS n
    WHERE n.id = l.id;
ALTER TABLE run_logs ALTER COLUMN line SET NOT NULL;

-- Failed attempts, like by like. Outlives the runs that it was seen in.
CREATE TABLE failures (
    fingerprint  text PRIMARY KEY,
    kind         text NOT NULL,
    message      text NOT NULL,            -- without what differs from run to run
    occurrences  bigint NOT NULL,          -- failed attempts
    first_seen   timestamptz NOT NULL,
    last_seen    timestamptz NOT NULL,
    last_run_id  uuid NOT NULL             -- may have been pruned
);
CREATE INDEX failures_last_seen ON failures (last_seen DESC);

-- RunState::next once more; see the first migration. New: running -> scheduled (snoozed), available ->
-- discarded (waited too long). The trigger also lets go of the unique key; it never takes one up.
CREATE OR REPLACE FUNCTION runs_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state IS DISTINCT FROM OLD.state AND NOT (OLD.state, NEW.state) IN (
        ('available', 'running'), ('running', 'completed'),
        ('scheduled', 'available'), ('scheduled', 'cancelled'),
        ('available', 'cancelled'), ('available', 'discarded'),
        ('blocked', 'available'), ('blocked', 'failed'), ('blocked', 'cancelled'),
        ('running', 'failed'), ('running', 'cancelled'),
        ('running', 'discarded'), ('running', 'retryable'), ('running', 'available'), ('running', 'scheduled'),
        ('retryable', 'available'), ('retryable', 'cancelled'),
        ('failed', 'available'), ('failed', 'blocked'),
        ('discarded', 'available'), ('discarded', 'blocked'),
        ('cancelled', 'available'), ('cancelled', 'blocked')) THEN
        RAISE EXCEPTION 'run % cannot go from % to %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'check_violation', CONSTRAINT = 'runs_transition';
    END IF;
    IF NEW.unique_held AND NOT NEW.state = ANY (NEW.unique_states) THEN
        NEW.unique_held := false;
    END IF;
    RETURN NEW;
END $$;

-- Takes up to p_limit runs of a queue for a living worker and opens their attempts. p_kinds are those
-- the worker knows: an older version leaves newer kinds to newer workers. Of p_external the effects are
-- outside the database: their claims are on disk before they begin. The others' need not be: if the
-- server crashes, claim and effects are lost together, and the fence is a token, not a number.
CREATE FUNCTION claim_runs(p_queue text, p_worker uuid, p_limit integer, p_kinds text[], p_external text[])
RETURNS TABLE (id uuid, kind text, args jsonb, attempt integer, max_attempts integer, claim_token uuid,
               parent_id uuid, flow_id uuid, waited_ms bigint, trying_ms bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    kinds  text[];
    free   bigint[];
    held   uuid[];
    taken  text[];
BEGIN
    IF is_paused('queue', p_queue)
       OR NOT EXISTS (SELECT 1 FROM workers w WHERE w.id = p_worker AND w.state = 'alive') THEN
        RETURN;
    END IF;
    SELECT array_agg(k) INTO kinds FROM unnest(p_kinds) AS k WHERE NOT is_paused('kind', k);

    PERFORM pg_advisory_xact_lock_shared(hashtextextended('queue ' || p_queue, 0));
    IF EXISTS (SELECT 1 FROM queue_limits l WHERE l.queue = p_queue) THEN
        SELECT array_agg(s.id) INTO free FROM (
            SELECT s.id FROM queue_slots s WHERE s.queue = p_queue AND s.run_id IS NULL
            ORDER BY s.id LIMIT p_limit FOR UPDATE SKIP LOCKED) AS s;
        p_limit := coalesce(cardinality(free), 0);
        IF p_limit = 0 THEN
            RETURN;
        END IF;
    END IF;

    RETURN QUERY WITH due AS (
        SELECT r.id FROM runs r
        WHERE r.queue = p_queue AND r.state = 'available' AND r.run_at <= now() AND r.kind = ANY (kinds)
          AND (r.start_by IS NULL OR r.start_by > now())
        ORDER BY claim_order(r.run_at, r.priority), r.id
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE runs r SET
            state       = 'running',
            reason      = NULL,
            claim_token = gen_random_uuid(),
            worker_id   = p_worker,
            attempt     = r.attempt + 1,
            start_by    = NULL,
            error       = NULL,              -- of an attempt before, which keeps it
            fingerprint = NULL,
            started_at  = coalesce(r.started_at, now())
        FROM due WHERE r.id = due.id
        RETURNING r.id, r.kind, r.args, r.attempt, r.max_attempts, r.claim_token, r.parent_id, r.flow_id,
                  r.priority, r.run_at, r.started_at
    ), opened AS (
        INSERT INTO run_attempts (run_id, attempt, worker_id) SELECT c.id, c.attempt, p_worker FROM claimed c
    ), seated AS (
        UPDATE queue_slots s SET run_id = pairs.run_id
        FROM (SELECT c.id AS run_id, row_number() OVER (ORDER BY c.id) AS n FROM claimed c) AS pairs
        JOIN unnest(free) WITH ORDINALITY AS slot (id, n) ON slot.n = pairs.n
        WHERE s.id = slot.id
    )
    SELECT c.id, c.kind, c.args, c.attempt, c.max_attempts, c.claim_token, c.parent_id, c.flow_id,
           (1000 * extract(epoch FROM now() - c.run_at))::bigint,
           (1000 * extract(epoch FROM now() - c.started_at))::bigint
    FROM claimed c ORDER BY claim_order(c.run_at, c.priority), c.id;

    IF FOUND AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.worker_id = p_worker AND r.state = 'running'
                             AND r.kind = ANY (p_external)) THEN
        PERFORM set_config('synchronous_commit', 'off', true);
    END IF;
END $$;

-- Ends attempts. `p_closings` is a JSON array of
--   {"id", "token", "outcome", "result"?, "error"?, "backtrace"?, "fingerprint"?, "message"?, "delay_ms"?}
-- with outcome = completed | failed | discarded | cancelled   terminal
--              | error | timed_out     waits `delay_ms`, then its next attempt
--              | snoozed               not now: waits `delay_ms`, burns no attempt
--              | interrupted           a shutdown: back at once, burns no attempt; with an error, the
--                                      database went away, which counts like a crash
--              | crashed               its worker died: back at once, burns no attempt, 20 times at most
-- Only claims whose fence holds are closed; these are returned with their new states. The run, its
-- attempt, its slot, the count of its failure and its parent's count move in one transaction, the
-- caller's: a crash before the commit leaves the run claimed, to be rescued; after it, closed.
DROP FUNCTION close_runs;
CREATE FUNCTION close_runs(p_closings jsonb) RETURNS TABLE (id uuid, state text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    held     uuid[];
    states   text[];
    parents  uuid[];
    counts   integer[];
BEGIN
    SELECT array_agg(h) INTO held FROM (
        SELECT hold_runs(array_agg((c->>'id')::uuid), array_agg((c->>'token')::uuid)) AS h
        FROM jsonb_array_elements(p_closings) AS c) AS locked;
    IF held IS NULL THEN
        RETURN;
    END IF;

    DELETE FROM queue_slots WHERE run_id = ANY (held) AND surplus;
    UPDATE queue_slots SET run_id = NULL WHERE run_id = ANY (held);

    UPDATE run_attempts a SET
        finished_at = clock_timestamp(),
        outcome     = c.outcome,
        error       = c.error,
        backtrace   = c.backtrace
    FROM jsonb_to_recordset(p_closings) AS c (id uuid, outcome text, error text, backtrace text), runs r
    WHERE c.id = ANY (held) AND r.id = c.id AND a.run_id = r.id AND a.attempt = r.attempt;

    WITH closing AS (
        SELECT c.*, CASE
                WHEN c.outcome IN ('interrupted', 'crashed', 'snoozed', 'error', 'timed_out')
                     AND r.cancel_requested THEN 'cancelled'
                WHEN c.outcome = 'snoozed' THEN 'scheduled'
                WHEN c.outcome IN ('interrupted', 'crashed')
                     AND (r.crashes < 19 OR c.outcome = 'interrupted' AND c.error IS NULL) THEN 'available'
                WHEN c.outcome IN ('interrupted', 'crashed') THEN 'discarded'
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
                                WHEN c.next_state IN ('cancelled', 'completed') THEN NULL
                                WHEN c.outcome IN ('interrupted', 'crashed', 'timed_out', 'snoozed') THEN c.outcome
                                ELSE 'error' END,
            max_attempts = r.max_attempts + (c.outcome IN ('interrupted', 'crashed', 'snoozed'))::integer,
            crashes      = r.crashes + (c.outcome = 'crashed' OR c.outcome = 'interrupted' AND c.error IS NOT NULL)::integer,
            run_at       = CASE WHEN c.next_state IN ('retryable', 'scheduled')
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
        RETURNING r.id, r.parent_id, r.state
    ), done AS (
        SELECT parent_id, count(*)::integer AS n FROM closed
        WHERE parent_id IS NOT NULL AND state IN ('completed', 'failed', 'cancelled', 'discarded')
        GROUP BY parent_id
    )
    SELECT (SELECT array_agg(c.id ORDER BY c.id) FROM closed c), (SELECT array_agg(c.state ORDER BY c.id) FROM closed c),
           (SELECT array_agg(d.parent_id ORDER BY d.parent_id) FROM done d),
           (SELECT array_agg(d.n ORDER BY d.parent_id) FROM done d)
    INTO held, states, parents, counts;

    INSERT INTO failures AS f (fingerprint, kind, message, occurrences, first_seen, last_seen, last_run_id)
        SELECT c.fingerprint, min(r.kind), min(c.message), count(*), now(), now(), max(c.id::text)::uuid
        FROM jsonb_to_recordset(p_closings) AS c (id uuid, fingerprint text, message text)
        JOIN runs r ON r.id = c.id
        WHERE c.id = ANY (held) AND c.fingerprint IS NOT NULL AND c.message IS NOT NULL
        GROUP BY c.fingerprint ORDER BY c.fingerprint
        ON CONFLICT (fingerprint) DO UPDATE SET occurrences = f.occurrences + excluded.occurrences,
            last_seen = greatest(f.last_seen, excluded.last_seen), last_run_id = excluded.last_run_id;

    PERFORM release_parents(coalesce(parents, '{}'), coalesce(counts, '{}'));
    RETURN QUERY SELECT * FROM unnest(held, states);
END $$;

-- Discards what has waited longer than it was worth waiting for; returns how many. Locks children
-- before parents, as everything that ends runs does.
CREATE FUNCTION expire_runs() RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    parents  uuid[];
    counts   integer[];
    expired  integer;
BEGIN
    WITH late AS (
        SELECT id FROM runs WHERE state = 'available' AND start_by <= now()
        ORDER BY id LIMIT 500 FOR NO KEY UPDATE SKIP LOCKED
    ), ended AS (
        UPDATE runs r SET state = 'discarded', reason = 'expired', finished_at = now(),
            error = 'It waited longer than it was worth waiting for: it was to begin by '
                    || to_char(r.start_by AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC.'
        FROM late WHERE r.id = late.id
        RETURNING r.parent_id
    ), done AS (
        SELECT parent_id, count(*)::integer AS n FROM ended WHERE parent_id IS NOT NULL GROUP BY parent_id
    )
    SELECT (SELECT count(*) FROM ended), array_agg(parent_id ORDER BY parent_id), array_agg(n ORDER BY parent_id)
    INTO expired, parents, counts FROM done;
    PERFORM release_parents(coalesce(parents, '{}'), coalesce(counts, '{}'));
    RETURN expired;
END $$;

-- As before; what is new: a run that is retried begins anew in every respect.
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
        start_by         = NULL,
        cancel_requested = false,
        unique_held      = r.unique_key IS NOT NULL,
        progress_done    = 0,
        progress_total   = NULL,
        phase            = NULL,
        result           = NULL,
        error            = NULL,
        fingerprint      = NULL,
        started_at       = NULL,
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

-- Why a run that has not ended is where it is: one reason, and what it is about. For a run that could
-- be claimed, the first of these that holds: queue_paused, kind_paused, no_worker (nobody alive serves
-- its queue and knows its kind), limit_reached, slots_full, behind (others go first), starting.
CREATE FUNCTION waiting_reasons(p_ids uuid[]) RETURNS TABLE (run_id uuid, reason text, detail jsonb)
LANGUAGE sql STABLE AS $$
    WITH asked AS (
        SELECT r.* FROM runs r WHERE r.id = ANY (p_ids) AND r.finished_at IS NULL
    ), alive AS (
        SELECT w.*, is_silent(w) AS silent FROM workers w WHERE w.state = 'alive'
    ), queues AS (
        SELECT q.queue, p.name IS NOT NULL AS paused, p.until, p.reason, p.paused_by, l.max_running,
               (SELECT count(*) FROM queue_slots s WHERE s.queue = q.queue AND s.run_id IS NULL) AS free_global
        FROM (SELECT DISTINCT queue FROM asked WHERE state = 'available') AS q
        LEFT JOIN pauses p ON p.target = 'queue' AND p.name = q.queue AND (p.until IS NULL OR p.until > now())
        LEFT JOIN queue_limits l ON l.queue = q.queue
    ), offers AS (
        -- What those workers offer and do that know the kind: of others no slot helps.
        SELECT p.queue, p.kind, coalesce(sum((a.slots->>p.queue)::integer), 0) AS slots,
               (SELECT count(*) FROM runs r JOIN alive b ON b.id = r.worker_id
                WHERE r.state = 'running' AND r.queue = p.queue AND NOT b.silent AND p.kind = ANY (b.kinds)) AS running
        FROM (SELECT DISTINCT queue, kind FROM asked WHERE state = 'available') AS p
        LEFT JOIN alive a ON NOT a.silent AND p.kind = ANY (a.kinds)
        GROUP BY p.queue, p.kind
    ), line AS (
        -- The first of each queue, once for all that are asked for; those of a kind that is paused or that
        -- nobody knows hold up none.
        SELECT f.queue, f.id, row_number() OVER (PARTITION BY f.queue ORDER BY f.turn, f.id) - 1 AS n
        FROM queues q CROSS JOIN LATERAL (
            SELECT o.queue, o.id, o.kind, claim_order(o.run_at, o.priority) AS turn FROM runs o
            WHERE o.queue = q.queue AND o.state = 'available'
            ORDER BY claim_order(o.run_at, o.priority), o.id LIMIT 1001) AS f
        WHERE NOT EXISTS (SELECT 1 FROM pauses p WHERE p.target = 'kind' AND p.name = f.kind
                          AND (p.until IS NULL OR p.until > now()))
          AND EXISTS (SELECT 1 FROM alive a WHERE NOT a.silent AND f.kind = ANY (a.kinds))
    )
    SELECT r.id,
        CASE r.state
            WHEN 'blocked' THEN CASE WHEN r.cancel_requested THEN 'stopping' ELSE 'dependency' END
            WHEN 'retryable' THEN CASE WHEN r.run_at > now() THEN 'backoff' ELSE 'starting' END
            WHEN 'scheduled' THEN CASE WHEN r.run_at <= now() THEN 'starting'
                                       WHEN r.reason = 'snoozed' THEN 'snoozed' ELSE 'scheduled' END
            WHEN 'running' THEN CASE WHEN w.id IS NULL OR w.silent THEN 'worker_silent'
                                     WHEN r.cancel_requested THEN 'stopping' ELSE 'running' END
            ELSE CASE WHEN q.paused THEN 'queue_paused'
                      WHEN k.name IS NOT NULL THEN 'kind_paused'
                      WHEN o.slots = 0 THEN 'no_worker'
                      WHEN q.max_running IS NOT NULL AND q.free_global = 0 THEN 'limit_reached'
                      WHEN o.running >= o.slots THEN 'slots_full'
                      WHEN ahead.n > 0 THEN 'behind' ELSE 'starting' END
        END,
        jsonb_strip_nulls(CASE
            WHEN r.state = 'blocked' THEN jsonb_build_object('children', r.blocked_by)
            WHEN r.state IN ('retryable', 'scheduled') THEN jsonb_build_object('until', r.run_at)
            WHEN r.state = 'running' THEN jsonb_build_object('worker', r.worker_id, 'since', r.started_at,
                                                             'last_seen', w.last_seen)
            WHEN q.paused THEN jsonb_build_object('until', q.until, 'why', q.reason, 'by', q.paused_by)
            WHEN k.name IS NOT NULL THEN jsonb_build_object('until', k.until, 'why', k.reason, 'by', k.paused_by)
            ELSE jsonb_build_object('ahead', ahead.n, 'running', o.running, 'slots', o.slots, 'limit', q.max_running)
        END)
    FROM asked r
    LEFT JOIN queues q ON q.queue = r.queue AND r.state = 'available'
    LEFT JOIN offers o ON o.queue = r.queue AND o.kind = r.kind AND r.state = 'available'
    LEFT JOIN pauses k ON k.target = 'kind' AND k.name = r.kind AND (k.until IS NULL OR k.until > now())
    LEFT JOIN alive w ON w.id = r.worker_id
    LEFT JOIN line ON line.id = r.id
    LEFT JOIN LATERAL (
        SELECT coalesce(line.n, (SELECT count(*) FROM line AS l WHERE l.queue = r.queue)) AS n) AS ahead ON true
$$;

-- Deletes, of the p_window oldest runs after p_after, the flows that ended before their time: completed
-- and cancelled ones before p_completed, failed and discarded ones before p_failed. A flow goes as a
-- whole, or not at all; attempts and log lines go with their runs. What an upload points to stays: the
-- root of a flow that completed, all of one that can still be retried. Returns where to go on (NULL at
-- the end) and how many rows went. A window is short, so no lock is held for long.
CREATE FUNCTION prune_runs(p_after uuid, p_window integer, p_completed timestamptz, p_failed timestamptz,
                           OUT next_after uuid, OUT deleted bigint) LANGUAGE plpgsql AS $$
DECLARE
    roots  uuid[];
BEGIN
    WITH looked_at AS (
        SELECT id, flow_id, parent_id, state, finished_at FROM runs WHERE id > p_after ORDER BY id LIMIT p_window
    ), old AS (
        SELECT id FROM looked_at
        WHERE flow_id = id AND parent_id IS NULL
          AND finished_at < CASE WHEN state IN ('completed', 'cancelled') THEN p_completed ELSE p_failed END
          AND (state = 'completed' OR NOT EXISTS (SELECT 1 FROM uploads u WHERE u.run_id = looked_at.id))
    )
    -- Locked, so that no retry comes between.
    SELECT (SELECT id FROM looked_at ORDER BY id DESC LIMIT 1), array_agg(o.id)
    INTO next_after, roots
    FROM (SELECT r.id FROM runs r JOIN old ON old.id = r.id
          WHERE r.finished_at IS NOT NULL ORDER BY r.id FOR UPDATE OF r SKIP LOCKED) AS o;
    WITH gone AS (
        DELETE FROM runs WHERE (id = ANY (roots) OR flow_id <> id AND flow_id = ANY (roots))
            AND NOT EXISTS (SELECT 1 FROM uploads u WHERE u.run_id = runs.id)
        RETURNING id
    ), attempts AS (
        DELETE FROM run_attempts a USING gone WHERE a.run_id = gone.id
    )
    SELECT count(*) INTO deleted FROM gone;
    IF NOT EXISTS (SELECT 1 FROM runs WHERE id > next_after) THEN
        next_after := NULL;
    END IF;
END $$;
