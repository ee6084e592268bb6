-- Jobs on a clock. `next_at` is the next tick: null while the schedule is paused for good, or when there is
-- none. Whoever changes cron, zone, policies or the pause sets it anew from that moment on, so that what
-- was to come is neither missed nor caught up. The leading scheduler looks for `next_at` that have passed by
-- the database's clock, a row at a time, locked.
CREATE TABLE schedules (
    id              uuid PRIMARY KEY,
    name            text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9_.-]{0,99}$'),
    description     text,
    cron            text NOT NULL,
    zone            text NOT NULL,
    kind            text NOT NULL,
    args            jsonb NOT NULL CHECK (jsonb_typeof(args) = 'object'),
    priority        smallint,
    missing         text NOT NULL CHECK (missing IN ('skip', 'shift')),
    repeated        text NOT NULL CHECK (repeated IN ('first', 'second', 'both')),
    catch_up        text NOT NULL CHECK (catch_up IN ('skip', 'once', 'all')),
    catch_up_limit  integer NOT NULL CHECK (catch_up_limit BETWEEN 1 AND 1000),
    overlap         text NOT NULL CHECK (overlap IN ('skip', 'queue', 'cancel_running', 'allow')),
    next_at         timestamptz,
    last_at         timestamptz,
    last_run_id     uuid,
    paused_at       timestamptz,
    paused_until    timestamptz,
    paused_by       text,
    pause_reason    text,
    built_in        boolean NOT NULL DEFAULT false,
    version         integer NOT NULL DEFAULT 1,
    created_by      text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CHECK ((paused_at IS NULL) = (paused_by IS NULL)),
    CHECK (paused_at IS NOT NULL OR paused_until IS NULL)
);
CREATE INDEX schedules_due ON schedules (next_at) WHERE next_at IS NOT NULL;

-- A tick at its nominal time (that of the expression, not of a clock). Inserted in the transaction that
-- makes its run: whoever inserts it makes the run, so two schedulers that both believe they lead fire once
-- (test: two_schedulers_fire_a_tick_once).
CREATE TABLE schedule_ticks (
    schedule_id  uuid NOT NULL REFERENCES schedules ON DELETE CASCADE,
    nominal_at   timestamptz NOT NULL,
    outcome      text NOT NULL CHECK (outcome IN ('fired', 'joined', 'waiting', 'skipped', 'missed', 'refused')),
    cause        text NOT NULL CHECK (cause IN ('clock', 'catch_up', 'manual', 'backfill')),
    reason       text,
    run_id       uuid,
    -- The state in which the run was when it was removed from the record.
    run_ended    text,
    backfill_id  uuid,
    fired_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (schedule_id, nominal_at),
    CHECK ((outcome IN ('fired', 'joined')) = (run_id IS NOT NULL))
);
CREATE INDEX schedule_ticks_runs ON schedule_ticks (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX schedule_ticks_waiting ON schedule_ticks (schedule_id, nominal_at) WHERE outcome = 'waiting';
CREATE INDEX schedule_ticks_backfills ON schedule_ticks (backfill_id) WHERE backfill_id IS NOT NULL;

-- A run that is removed from the record leaves its end on its tick: a backfill asks for it (test:
-- a_tick_remembers_how_its_run_ended).
CREATE FUNCTION schedule_ticks_keep_ends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE schedule_ticks t SET run_ended = removed.state FROM removed WHERE t.run_id = removed.id;
    RETURN NULL;
END $$;
CREATE TRIGGER schedule_ticks_keep_ends AFTER DELETE ON runs
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION schedule_ticks_keep_ends();

-- What somebody has to look at. A key is raised once; what has ended by itself is resolved.
CREATE TABLE alerts (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind             text NOT NULL,
    key              text NOT NULL UNIQUE,
    subject          text NOT NULL,
    message          text NOT NULL,
    raised_at        timestamptz NOT NULL DEFAULT now(),
    resolved_at      timestamptz,
    acknowledged_at  timestamptz,
    acknowledged_by  text
);
CREATE INDEX alerts_open ON alerts (raised_at) WHERE resolved_at IS NULL AND acknowledged_at IS NULL;

DROP TABLE ticks;
