-- One logical message. `dedupe` is set for what an event says, once for each subject of it (test:
-- an_event_is_told_once). `state` follows the deliveries, by the trigger below.
CREATE TABLE notifications (
    id          uuid PRIMARY KEY,
    event       text,                       -- absent: somebody asked for it
    client_id   text COLLATE "C",
    title       text NOT NULL,
    body        text NOT NULL,
    html        text,
    payload     jsonb NOT NULL,             -- what a program is told: the body of a webhook
    state       text NOT NULL CHECK (state IN ('pending', 'sent', 'partial', 'failed', 'suppressed')),
    send_at     timestamptz,
    dedupe      text COLLATE "C" UNIQUE,
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL        -- the time in the id
);
CREATE INDEX notifications_client ON notifications (client_id, id DESC) WHERE client_id IS NOT NULL;
CREATE INDEX notifications_notable ON notifications (state, id DESC) WHERE state <> 'sent';
CREATE INDEX notifications_merged ON notifications (event, created_at)
    WHERE event IN ('run_discarded', 'schedule_missed');

-- Where programs want to be told. `events`: of which, besides what is sent to the endpoint itself. While
-- `previous_secret` holds, messages are signed with both.
CREATE TABLE webhook_endpoints (
    id               uuid PRIMARY KEY,
    url              text NOT NULL,
    client_id        text COLLATE "C",      -- whose events alone it is told of; absent: everybody's
    description      text NOT NULL DEFAULT '',
    events           text[] NOT NULL DEFAULT '{}',
    secret           text NOT NULL,
    previous_secret  text,
    previous_until   timestamptz,
    disabled_at      timestamptz,
    disabled_reason  text,
    created_by       text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    CHECK ((previous_secret IS NULL) = (previous_until IS NULL)),
    CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL))
);
CREATE UNIQUE INDEX webhook_endpoints_url ON webhook_endpoints (url, coalesce(client_id, ''));
CREATE INDEX webhook_endpoints_client ON webhook_endpoints (client_id) WHERE client_id IS NOT NULL;

-- One message to one recipient over one channel, sent by a run. `unknown`: it may have been accepted or
-- not, and an operator decides (tests/durability/notifications.rs).
CREATE TABLE deliveries (
    id                uuid PRIMARY KEY,
    notification_id   uuid NOT NULL REFERENCES notifications ON DELETE CASCADE,
    run_id            uuid,                 -- that sends it; absent if nobody was to
    endpoint_id       uuid REFERENCES webhook_endpoints ON DELETE SET NULL,
    last_attempt_at   timestamptz,
    ended_at          timestamptz,
    permit_at         timestamptz,          -- when its turn is, where a provider takes so many a second
    attempts          integer NOT NULL DEFAULT 0,
    channel           text NOT NULL CHECK (channel IN ('email', 'sms', 'telegram', 'webhook')),
    client_id         text COLLATE "C",
    address           text NOT NULL,
    state             text NOT NULL
        CHECK (state IN ('pending', 'delivered', 'failed', 'unknown', 'suppressed', 'cancelled')),
    provider          text,                 -- that was tried last
    error_message     text,
    CHECK ((state = 'pending') = (ended_at IS NULL)),
    CHECK (run_id IS NOT NULL OR state = 'suppressed')
) WITH (fillfactor = 70);
CREATE INDEX deliveries_notification ON deliveries (notification_id);
CREATE INDEX deliveries_channel ON deliveries (channel, id DESC);
CREATE INDEX deliveries_notable ON deliveries (state, id DESC) WHERE state <> 'delivered';
CREATE INDEX deliveries_client ON deliveries (client_id, id DESC) WHERE client_id IS NOT NULL;
CREATE INDEX deliveries_endpoint ON deliveries (endpoint_id, id DESC) WHERE endpoint_id IS NOT NULL;
CREATE INDEX deliveries_provider ON deliveries (provider, id DESC) WHERE provider IS NOT NULL;

-- Each time that a provider was asked. The row is on disk before it is (`sending`): what a process that
-- died has left so may have been accepted.
CREATE TABLE delivery_attempts (
    delivery_id  uuid NOT NULL REFERENCES deliveries ON DELETE CASCADE,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    number       integer NOT NULL,
    run_attempt  integer NOT NULL,
    duration_ms  integer,
    status_code  integer,
    provider     text NOT NULL,
    outcome      text NOT NULL
        CHECK (outcome IN ('sending', 'accepted', 'transient', 'throttled', 'permanent', 'unknown')),
    response     text,
    error        text,
    PRIMARY KEY (delivery_id, number)
);

-- Whether a provider, or a webhook's endpoint, is asked at all: its circuit breaker, and how many it takes.
-- Without a row it is closed and has never failed.
CREATE TABLE circuits (
    name         text COLLATE "C" PRIMARY KEY,  -- channel/provider, webhook/endpoint
    failures     integer NOT NULL DEFAULT 0,    -- one after the other
    openings     integer NOT NULL DEFAULT 0,    -- one after the other
    state        text NOT NULL DEFAULT 'closed' CHECK (state IN ('closed', 'open', 'half_open')),
    forced       text CHECK (forced IN ('open', 'closed')),
    probe_at     timestamptz,                   -- open: when it is tried again; half open: until when that lasts
    hold_until   timestamptz,                   -- it asked to be left alone
    next_permit  timestamptz,                   -- where it takes so many a second
    changed_at   timestamptz NOT NULL DEFAULT now(),
    changed_by   text,
    last_error   text,
    CHECK ((state = 'closed') = (probe_at IS NULL))
) WITH (fillfactor = 50);

-- What a client does not want.
CREATE TABLE notification_optouts (
    client_id   text COLLATE "C" NOT NULL,
    channel     text NOT NULL CHECK (channel IN ('email', 'sms', 'telegram', 'webhook')),
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (client_id, channel)
);

-- Over which channels clients are told of their events; none is never.
CREATE TABLE client_events (
    event       text PRIMARY KEY,
    channels    text[] NOT NULL,
    updated_by  text NOT NULL,
    updated_at  timestamptz NOT NULL DEFAULT now()
);

-- Who else is told of an event. Programs subscribe by their endpoints.
CREATE TABLE event_subscriptions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event       text NOT NULL,
    channel     text NOT NULL CHECK (channel IN ('email', 'sms', 'telegram')),
    address     text NOT NULL,
    created_by  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (event, channel, address)
);

-- What has happened and is still to be told: written in the transaction in which it happens, made into
-- notifications by `announce_events` once some of its event is due.
CREATE TABLE announcements (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event       text NOT NULL,
    subject     text NOT NULL,
    data        jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at      timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX announcements_due ON announcements (due_at);

-- Whether anybody wants to know.
CREATE FUNCTION is_event_wanted(p_event text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT 1 FROM client_events WHERE event = p_event AND channels <> '{}')
        OR EXISTS (SELECT 1 FROM event_subscriptions WHERE event = p_event)
        OR EXISTS (SELECT 1 FROM webhook_endpoints WHERE disabled_at IS NULL AND (p_event = ANY (events)
                   -- A client's that names none is told of all that are a client's.
                   OR client_id IS NOT NULL AND events = '{}'
                      AND p_event IN ('daily_summary', 'trade_settled', 'trade_rejected')))
$$;

-- Until when nothing more is told of an event that may happen a thousand times at once: five minutes after it
-- was told of last (test: discarded_runs_are_told_of_together).
CREATE FUNCTION quiet_until(p_event text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT coalesce(max(created_at) + interval '5 minutes', '-infinity') FROM notifications
    WHERE event = p_event AND event IN ('run_discarded', 'schedule_missed')
$$;

-- A notification is what its deliveries are. Two that end at the same time each lock it first, and count
-- in a statement begun after that (test: deliveries_that_end_together_are_counted_together).
CREATE FUNCTION notifications_follow_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    moved  uuid[];
BEGIN
    SELECT array_agg(DISTINCT n.notification_id) INTO moved
    FROM new_rows n JOIN old_rows o ON o.id = n.id WHERE o.state <> n.state;
    IF moved IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM 1 FROM notifications WHERE id = ANY (moved) ORDER BY id FOR NO KEY UPDATE;
    UPDATE notifications n SET state = c.state
    FROM (
        SELECT d.notification_id, CASE
            WHEN bool_or(d.state IN ('pending', 'unknown')) THEN 'pending'
            WHEN bool_and(d.state = 'suppressed') THEN 'suppressed'
            WHEN bool_and(d.state IN ('delivered', 'suppressed')) THEN 'sent'
            WHEN bool_or(d.state = 'delivered') THEN 'partial'
            ELSE 'failed' END AS state
        FROM deliveries d WHERE d.notification_id = ANY (moved) GROUP BY d.notification_id
    ) AS c
    WHERE n.id = c.notification_id AND n.state <> c.state;
    RETURN NULL;
END $$;
CREATE TRIGGER notifications_follow_deliveries AFTER UPDATE ON deliveries
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION notifications_follow_deliveries();

-- A delivery whose run ends without it having been delivered has failed; unless an attempt is open: that
-- may have been accepted. Whoever retries the run has it sent after all, but never one that is unknown. The
-- run's row is locked before the delivery's, as whoever records an attempt does.
CREATE FUNCTION deliveries_follow_their_run() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    delivery  uuid := (OLD.args->>'delivery_id')::uuid;
BEGIN
    IF TG_OP = 'DELETE' OR NEW.state IN ('failed', 'discarded', 'cancelled') THEN
        PERFORM 1 FROM deliveries WHERE id = delivery FOR NO KEY UPDATE;
        UPDATE deliveries d SET
            state = CASE
                WHEN EXISTS (SELECT 1 FROM delivery_attempts a
                             WHERE a.delivery_id = d.id AND a.outcome = 'sending') THEN 'unknown'
                WHEN TG_OP = 'DELETE' THEN 'failed'
                WHEN NEW.state = 'cancelled' THEN 'cancelled'
                ELSE 'failed' END,
            ended_at = clock_timestamp(),
            error_message = CASE
                WHEN TG_OP = 'DELETE' THEN coalesce(d.error_message, 'its run was removed')
                WHEN NEW.state = 'cancelled' THEN coalesce(d.error_message, 'cancelled by an operator')
                ELSE coalesce(NEW.error, d.error_message) END
        WHERE d.id = delivery AND d.run_id = OLD.id AND d.state = 'pending';
        UPDATE delivery_attempts SET outcome = 'unknown', error = 'the worker that was sending it stopped'
        WHERE delivery_id = delivery AND outcome = 'sending'
          AND EXISTS (SELECT 1 FROM deliveries d WHERE d.id = delivery AND d.state = 'unknown');
    ELSE
        UPDATE deliveries SET state = 'pending', ended_at = NULL
        WHERE id = delivery AND run_id = OLD.id AND state IN ('failed', 'cancelled');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER deliveries_follow_their_run AFTER UPDATE OF state ON runs FOR EACH ROW
    WHEN (NEW.kind LIKE 'deliver\_%' AND NEW.state IS DISTINCT FROM OLD.state
          AND (NEW.state IN ('failed', 'discarded', 'cancelled') OR OLD.state IN ('failed', 'discarded', 'cancelled')))
    EXECUTE FUNCTION deliveries_follow_their_run();
CREATE TRIGGER deliveries_do_not_wait_for_pruned_runs AFTER DELETE ON runs FOR EACH ROW
    WHEN (OLD.kind LIKE 'deliver\_%' AND OLD.state <> 'completed')
    EXECUTE FUNCTION deliveries_follow_their_run();

-- A run that was given up is an event, but for those that tell of events.
CREATE FUNCTION announce_discarded_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF is_event_wanted('run_discarded') THEN
        INSERT INTO announcements (event, subject, data, due_at) VALUES ('run_discarded', NEW.id || ':' || NEW.attempt,
            jsonb_build_object('run_id', NEW.id, 'kind', NEW.kind, 'attempts', NEW.attempt, 'error', left(NEW.error, 2000)),
            greatest(clock_timestamp(), quiet_until('run_discarded')));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER announce_discarded_run AFTER UPDATE OF state ON runs FOR EACH ROW
    -- What fails for good is given up at once. A part of a flow is its root's matter, and an upload's flow is its
    -- page's.
    WHEN ((NEW.state = 'discarded' OR NEW.state = 'failed' AND NEW.parent_id IS NULL AND NEW.kind <> 'finish_upload')
          AND OLD.state NOT IN ('discarded', 'failed') AND NEW.kind NOT LIKE 'deliver\_%'
          AND NEW.kind <> 'announce_events')
    EXECUTE FUNCTION announce_discarded_run();

-- So is a schedule that has missed a tick, or was not begun, or is overdue: whatever is raised.
CREATE FUNCTION announce_alert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF is_event_wanted('schedule_missed') THEN
        INSERT INTO announcements (event, subject, data, due_at) VALUES ('schedule_missed', NEW.id::text,
            jsonb_build_object('schedule', NEW.subject, 'kind', NEW.kind, 'message', NEW.message),
            greatest(clock_timestamp(), quiet_until('schedule_missed')));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER announce_alert AFTER INSERT ON alerts FOR EACH ROW EXECUTE FUNCTION announce_alert();
