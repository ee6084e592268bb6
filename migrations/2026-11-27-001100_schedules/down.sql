CREATE TABLE ticks (
    schedule      text NOT NULL,
    nominal_time  timestamptz NOT NULL,
    run_id        uuid,
    fired_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schedule, nominal_time)
);
DROP TRIGGER schedule_ticks_keep_ends ON runs;
DROP FUNCTION schedule_ticks_keep_ends();
DROP TABLE alerts;
DROP TABLE schedule_ticks;
DROP TABLE schedules;
