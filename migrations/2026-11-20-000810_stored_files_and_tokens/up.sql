-- Which files are needed: pruning asks for keys by the thousand.
CREATE INDEX uploads_storage_key ON uploads (storage_key);
CREATE INDEX uploads_text_key ON uploads (text_key) WHERE text_key IS NOT NULL;
CREATE INDEX previews_storage_key ON previews (storage_key);
CREATE INDEX previews_waiting ON previews (created_at) WHERE upload_id IS NULL;
-- Of the uploads that have ended, those whose files are still there.
CREATE INDEX uploads_with_files ON uploads (finished_at) WHERE files_removed_at IS NULL AND finished_at IS NOT NULL;

-- Refresh tokens (JWTs; the table knows them by their jti). Each is good for one use, which makes the next
-- of its family; a second use, or a logout, revokes the family (test: a_used_refresh_token_revokes_its_family).
CREATE TABLE refresh_tokens (
    jti         uuid PRIMARY KEY,
    family      uuid NOT NULL,
    user_id     uuid NOT NULL REFERENCES users ON DELETE CASCADE,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,
    revoked_at  timestamptz
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expiry ON refresh_tokens (expires_at);
