-- A tick of a schedule at its nominal time (that of the cron expression, not of a clock). Inserted in
-- the transaction that enqueues the tick's run: whoever inserts it enqueues, so two schedulers that
-- both believe they lead fire once (test: two_schedulers_fire_a_tick_once).
CREATE TABLE ticks (
    schedule      text NOT NULL,
    nominal_time  timestamptz NOT NULL,
    run_id        uuid,                    -- what it enqueued, or the unique run that stood for it
    fired_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schedule, nominal_time)
);
