-- The run engine. PostgreSQL is the record of every run; Redis only rings doorbells.

CREATE TABLE queues (
    name          text PRIMARY KEY,
    paused        boolean NOT NULL DEFAULT false,
    paused_until  timestamptz,
    reason        text
);

-- One row per process start; `last_seen` is the lease (the database's clock, never a worker's).
CREATE TABLE workers (
    id          uuid PRIMARY KEY,
    host        text NOT NULL,
    pid         integer NOT NULL,
    version     text NOT NULL,
    state       text NOT NULL DEFAULT 'alive' CHECK (state IN ('alive', 'stopped', 'dead')),
    started_at  timestamptz NOT NULL DEFAULT now(),
    last_seen   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX workers_alive ON workers (last_seen) WHERE state = 'alive';

CREATE TABLE runs (
    id                uuid PRIMARY KEY,
    kind              text NOT NULL,
    queue             text NOT NULL,
    args              jsonb NOT NULL DEFAULT '{}',
    state             text NOT NULL CHECK (state IN ('scheduled', 'available', 'blocked', 'running',
                          'retryable', 'completed', 'failed', 'cancelled', 'discarded')),
    reason            text CHECK (reason IN ('queue_paused', 'slots_full', 'dependency', 'backoff',
                          'interrupted', 'crashed', 'timed_out', 'child_failed', 'error')),
    priority          smallint NOT NULL DEFAULT 100,          -- lower runs first
    attempt           integer NOT NULL DEFAULT 0,             -- attempts opened so far
    max_attempts      integer NOT NULL CHECK (max_attempts > 0),
    crashes           smallint NOT NULL DEFAULT 0,            -- attempts lost with their worker
    run_at            timestamptz NOT NULL DEFAULT now(),
    claim_token       uuid,                                   -- the fence: fresh at each claim
    worker_id         uuid REFERENCES workers,
    cancel_requested  boolean NOT NULL DEFAULT false,
    parent_id         uuid REFERENCES runs,
    flow_id           uuid NOT NULL,                          -- the flow's root run (itself, if alone)
    blocked_by        integer NOT NULL DEFAULT 0 CHECK (blocked_by >= 0),  -- children not yet terminal
    unique_key        text,
    unique_until      text CHECK (unique_until IN ('started', 'finished')),
    unique_held       boolean NOT NULL DEFAULT false,         -- true while the key excludes others
    progress_done     bigint NOT NULL DEFAULT 0,
    progress_total    bigint,
    progress_unit     text,
    phase             text,
    result            jsonb,
    error             text,
    fingerprint       text,                                   -- groups like failures: kind + normalised error
    created_by        text NOT NULL,
    created_at        timestamptz NOT NULL DEFAULT now(),
    started_at        timestamptz,
    finished_at       timestamptz,
    CHECK ((unique_key IS NULL) = (unique_until IS NULL)),
    CHECK (NOT unique_held OR unique_key IS NOT NULL),
    -- A running run has its fence and its worker; nothing else has.
    CHECK ((state = 'running') = (claim_token IS NOT NULL)),
    CHECK ((state = 'running') = (worker_id IS NOT NULL)),
    CHECK ((state IN ('completed', 'failed', 'cancelled', 'discarded')) = (finished_at IS NOT NULL)),
    CHECK (state <> 'blocked' OR blocked_by > 0)
);
CREATE INDEX runs_claimable ON runs (queue, priority, run_at, id) WHERE state = 'available';
CREATE INDEX runs_due ON runs (run_at) WHERE state IN ('scheduled', 'retryable');
CREATE INDEX runs_running ON runs (worker_id) WHERE state = 'running';
CREATE INDEX runs_parent ON runs (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX runs_flow ON runs (flow_id, id);
CREATE INDEX runs_state ON runs (state, id DESC);
CREATE INDEX runs_kind ON runs (kind, id DESC);
-- Of all runs that hold one unique key, one exists (test: concurrent_unique_enqueues_make_one_run).
CREATE UNIQUE INDEX runs_unique ON runs (unique_key) WHERE unique_held;

-- Attempts are opened by a claim and closed once; never overwritten.
CREATE TABLE run_attempts (
    run_id       uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    attempt      integer NOT NULL,
    worker_id    uuid NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    outcome      text CHECK (outcome IN ('completed', 'error', 'failed', 'discarded', 'cancelled',
                     'interrupted', 'crashed', 'timed_out')),
    error        text,
    backtrace    text,
    PRIMARY KEY (run_id, attempt),
    CHECK ((finished_at IS NULL) = (outcome IS NULL))
);

CREATE TABLE run_logs (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id   uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    attempt  integer NOT NULL,
    at       timestamptz NOT NULL,
    level    text NOT NULL,
    message  text NOT NULL
);
CREATE INDEX run_logs_run ON run_logs (run_id, id);

-- The transitions of RunState::next, once more, where no code path can pass them by
-- (test: the_database_and_the_code_allow_the_same_transitions). The trigger also lets go of the
-- unique key as soon as the run leaves the states in which it excludes others.
CREATE FUNCTION runs_guard() RETURNS trigger LANGUAGE plpgsql AS $$
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
CREATE TRIGGER runs_guard BEFORE UPDATE OF state ON runs FOR EACH ROW EXECUTE FUNCTION runs_guard();

-- Children of `p_parents` became terminal (`p_counts` of each): count down, and where none is left
-- let the parent go on, or fail it if a child failed. A parent that fails or is cancelled is itself
-- a finished child, so the function climbs. Locks parents in id order, each once.
CREATE FUNCTION release_parents(p_parents uuid[], p_counts integer[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    next_parents uuid[];
    next_counts  integer[];
BEGIN
    WHILE cardinality(p_parents) > 0 LOOP
        PERFORM 1 FROM runs WHERE id = ANY (p_parents) ORDER BY id FOR NO KEY UPDATE;
        WITH counted AS (
            SELECT parent_id, done FROM unnest(p_parents, p_counts) AS c (parent_id, done)
        ), judged AS (
            SELECT p.id, p.blocked_by - c.done AS left_over, p.state,
                   EXISTS (SELECT 1 FROM runs child WHERE child.parent_id = p.id
                           AND child.state IN ('failed', 'discarded', 'cancelled')) AS child_failed
            FROM runs p JOIN counted c ON c.parent_id = p.id
        ), moved AS (
            UPDATE runs p SET
                blocked_by  = j.left_over,
                state       = CASE WHEN p.state <> 'blocked' OR j.left_over > 0 THEN p.state
                                   WHEN p.cancel_requested THEN 'cancelled'
                                   WHEN j.child_failed THEN 'failed' ELSE 'available' END,
                reason      = CASE WHEN p.state <> 'blocked' OR j.left_over > 0 THEN p.reason
                                   WHEN p.cancel_requested THEN NULL
                                   WHEN j.child_failed THEN 'child_failed' END,
                error       = CASE WHEN p.state = 'blocked' AND j.left_over = 0 AND j.child_failed
                                        AND NOT p.cancel_requested
                                   THEN 'A step of this flow failed; retry runs only what failed.'
                                   ELSE p.error END,
                finished_at = CASE WHEN p.state = 'blocked' AND j.left_over = 0
                                        AND (j.child_failed OR p.cancel_requested)
                                   THEN now() ELSE p.finished_at END
            FROM judged j WHERE p.id = j.id
            RETURNING p.parent_id, p.state, j.state AS old_state
        ), climbed AS (
            SELECT parent_id, count(*)::integer AS done FROM moved
            WHERE old_state = 'blocked' AND state IN ('failed', 'cancelled') AND parent_id IS NOT NULL
            GROUP BY parent_id
        )
        SELECT array_agg(parent_id ORDER BY parent_id), array_agg(done ORDER BY parent_id)
        INTO next_parents, next_counts FROM climbed;
        p_parents := coalesce(next_parents, '{}');
        p_counts  := coalesce(next_counts, '{}');
    END LOOP;
END $$;

-- Locks, in id order, those of the given claims that still hold, and names them. A batch works only
-- for these: one stale claim must not undo the others.
CREATE FUNCTION hold_runs(p_ids uuid[], p_tokens uuid[]) RETURNS SETOF uuid LANGUAGE sql AS $$
    SELECT r.id FROM runs r JOIN unnest(p_ids, p_tokens) AS c (id, token) ON r.id = c.id
    WHERE r.state = 'running' AND r.claim_token = c.token
    ORDER BY r.id FOR NO KEY UPDATE OF r
$$;

-- Ends attempts. `p_closings` is a JSON array of
--   {"id", "token", "outcome", "result"?, "error"?, "backtrace"?, "fingerprint"?, "delay_ms"?}
-- with outcome = completed | failed | discarded | cancelled   terminal
--              | error | timed_out     waits `delay_ms`, then its next attempt
--              | interrupted           a shutdown: back at once, burns no attempt
--              | crashed               its worker died: back at once, burns no attempt, 20 times at most
-- Only claims whose fence holds are closed; their ids are returned. The run, its attempt and its
-- parent's count move in one transaction, the caller's: a crash before the commit leaves the run
-- claimed, to be rescued; after it, closed.
CREATE FUNCTION close_runs(p_closings jsonb) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
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

-- Closes one run in the transaction of its effects, and raises (SQLSTATE MR001) when the fence does
-- not hold: the effects then roll back with it. Any kind of connection can call it.
CREATE FUNCTION close_run(p_id uuid, p_token uuid, p_outcome text, p_result jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM close_runs(jsonb_build_array(jsonb_build_object(
        'id', p_id, 'token', p_token, 'outcome', p_outcome, 'result', p_result)));
    IF NOT FOUND THEN
        RAISE EXCEPTION 'run % is no longer held by this claim', p_id USING ERRCODE = 'MR001';
    END IF;
END $$;

-- Locks a run's descendants, then the run and its ancestors: children before parents, in id order
-- within a level, as everything that closes runs does.
CREATE FUNCTION lock_run_tree(p_id uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    level   integer;
BEGIN
    FOR level IN
        WITH RECURSIVE tree AS (
            SELECT p_id AS id, 0 AS depth
            UNION ALL SELECT r.id, t.depth + 1 FROM runs r JOIN tree t ON r.parent_id = t.id)
        SELECT DISTINCT depth FROM tree WHERE depth > 0 ORDER BY depth DESC
    LOOP
        PERFORM 1 FROM runs WHERE id IN (
            WITH RECURSIVE tree AS (
                SELECT p_id AS id, 0 AS depth
                UNION ALL SELECT r.id, t.depth + 1 FROM runs r JOIN tree t ON r.parent_id = t.id
                WHERE t.depth < level)
            SELECT id FROM tree WHERE depth = level)
        ORDER BY id FOR NO KEY UPDATE;
    END LOOP;
    WHILE p_id IS NOT NULL LOOP
        SELECT parent_id INTO p_id FROM runs WHERE id = p_id FOR NO KEY UPDATE;
    END LOOP;
END $$;

-- Cancels a run and its unfinished descendants: what waits ends now, what runs is asked to stop, what
-- is blocked ends with its last child. Call lock_run_tree before. Returns the run's state.
CREATE FUNCTION cancel_run(p_id uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    parents  uuid[];
    counts   integer[];
BEGIN
    WITH RECURSIVE tree AS (
        SELECT p_id AS id
        UNION ALL SELECT r.id FROM runs r JOIN tree t ON r.parent_id = t.id
    ), asked AS (
        UPDATE runs r SET
            cancel_requested = true,
            state       = CASE WHEN state IN ('scheduled', 'available', 'retryable') THEN 'cancelled' ELSE state END,
            reason      = CASE WHEN state IN ('scheduled', 'available', 'retryable') THEN NULL ELSE reason END,
            finished_at = CASE WHEN state IN ('scheduled', 'available', 'retryable') THEN now() END
        WHERE id IN (SELECT id FROM tree)
          AND state NOT IN ('completed', 'failed', 'cancelled', 'discarded')
        RETURNING parent_id, state
    ), ended AS (
        SELECT parent_id, count(*)::integer AS n FROM asked
        WHERE state = 'cancelled' AND parent_id IS NOT NULL GROUP BY parent_id
    )
    SELECT array_agg(parent_id ORDER BY parent_id), array_agg(n ORDER BY parent_id)
    INTO parents, counts FROM ended;
    PERFORM release_parents(coalesce(parents, '{}'), coalesce(counts, '{}'));
    RETURN (SELECT state FROM runs WHERE id = p_id);
END $$;

-- Runs an ended run again; of a flow only what did not complete. Its ended ancestors wait for it
-- again. Attempts keep their numbers: the kind's count (`p_attempts`, by `p_kinds`) is added to them.
-- Call lock_run_tree before.
CREATE FUNCTION retry_run(p_id uuid, p_kinds text[], p_attempts integer[]) RETURNS void LANGUAGE plpgsql AS $$
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
