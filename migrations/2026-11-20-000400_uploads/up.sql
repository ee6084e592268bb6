-- An upload is one file that somebody handed in. Its flow is the run `run_id` (kind finish_upload)
-- with its children plan_upload and ingest_chunk.
CREATE TABLE uploads (
    id               uuid PRIMARY KEY,
    kind             text NOT NULL CHECK (kind IN ('transactions', 'clients')),
    filename         text NOT NULL,
    size_bytes       bigint NOT NULL CHECK (size_bytes >= 0),
    sha256           bytea NOT NULL CHECK (octet_length(sha256) = 32),
    storage_key      text NOT NULL,
    options          jsonb NOT NULL,
    forced           boolean NOT NULL DEFAULT false,
    state            text NOT NULL DEFAULT 'received' CHECK (state IN ('received', 'planning', 'loading',
                         'finished', 'failed', 'cancelled', 'undone')),
    run_id           uuid NOT NULL REFERENCES runs DEFERRABLE INITIALLY DEFERRED,
    header           text[],
    mapping          jsonb,                 -- field -> zero-based column
    ignored_columns  text[] NOT NULL DEFAULT '{}',
    records          bigint,                -- known once planned
    created_by       text NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    finished_at      timestamptz
);
-- The same bytes, kind and options are taken in once, unless forced
-- (test: the_same_file_again_is_the_same_upload).
CREATE UNIQUE INDEX uploads_same_file ON uploads (sha256, kind, options)
    WHERE NOT forced AND state IN ('received', 'planning', 'loading', 'finished');
CREATE INDEX uploads_state ON uploads (state, id DESC);
CREATE UNIQUE INDEX uploads_run ON uploads (run_id);

-- A chunk is a byte range of the file that begins and ends at record boundaries. Its counts are
-- written in the transaction that loads it and closes its run; an upload's counts are their sums.
CREATE TABLE upload_chunks (
    upload_id    uuid NOT NULL REFERENCES uploads ON DELETE CASCADE,
    chunk        integer NOT NULL,
    byte_start   bigint NOT NULL,
    byte_end     bigint NOT NULL CHECK (byte_end > byte_start),
    first_line   bigint NOT NULL,
    records      bigint NOT NULL,
    loaded_at    timestamptz,
    inserted     bigint NOT NULL DEFAULT 0,
    updated      bigint NOT NULL DEFAULT 0,
    duplicates   bigint NOT NULL DEFAULT 0,
    conflicts    bigint NOT NULL DEFAULT 0,
    rejected     bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (upload_id, chunk),
    -- Every record that was read is accounted for.
    CHECK (loaded_at IS NULL OR records = inserted + updated + duplicates + conflicts + rejected)
);

-- A record that was not loaded, with its original bytes. Conflicts are rejects with code 'conflict'.
CREATE TABLE upload_rejects (
    upload_id    uuid NOT NULL REFERENCES uploads ON DELETE CASCADE,
    line         bigint NOT NULL,
    chunk        integer NOT NULL,
    column_name  text,
    code         text NOT NULL,
    message      text NOT NULL,
    raw          bytea NOT NULL,
    PRIMARY KEY (upload_id, line)
);
CREATE INDEX upload_rejects_code ON upload_rejects (upload_id, code, line);

-- The flow decides the upload's state, in the transaction that moves the flow: whichever process
-- dies, the two never disagree.
CREATE FUNCTION uploads_follow_their_flow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE uploads SET
        state = CASE NEW.state WHEN 'completed' THEN 'finished' WHEN 'failed' THEN 'failed'
                    WHEN 'discarded' THEN 'failed' WHEN 'cancelled' THEN 'cancelled'
                    ELSE CASE WHEN records IS NULL THEN 'planning' ELSE 'loading' END END,
        finished_at = NEW.finished_at
    WHERE run_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER uploads_follow_their_flow AFTER UPDATE OF state ON runs FOR EACH ROW
    WHEN (NEW.kind = 'finish_upload' AND NEW.state IS DISTINCT FROM OLD.state)
    EXECUTE FUNCTION uploads_follow_their_flow();
