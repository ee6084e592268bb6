ALTER TABLE clients ALTER COLUMN position TYPE numeric(20,4), ALTER COLUMN opening_balance TYPE numeric(20,4);
CREATE INDEX merchant_days_day ON merchant_days (day);
DROP TABLE entries, journals, upload_postings, fx_rates, previews, upload_overlaps, upload_moves, upload_trial_keys;
DROP FUNCTION entries_balance, ledger_is_kept;
CREATE OR REPLACE FUNCTION uploads_follow_their_flow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE uploads SET
        state = CASE NEW.state WHEN 'completed' THEN 'finished' WHEN 'failed' THEN 'failed'
                    WHEN 'discarded' THEN 'failed' WHEN 'cancelled' THEN 'cancelled'
                    ELSE CASE WHEN records IS NULL THEN 'planning' ELSE 'loading' END END,
        finished_at = NEW.finished_at
    WHERE run_id = NEW.id;
    RETURN NULL;
END $$;
ALTER TABLE upload_chunks DROP COLUMN first_at, DROP COLUMN last_at, DROP COLUMN faults;
DROP INDEX uploads_same_file;
CREATE UNIQUE INDEX uploads_same_file ON uploads (sha256, kind, options)
    WHERE NOT forced AND state IN ('received', 'planning', 'loading', 'finished');
DROP INDEX uploads_mapped;
ALTER TABLE uploads
    DROP COLUMN format, DROP COLUMN text_key, DROP COLUMN warnings, DROP COLUMN corrects,
    DROP COLUMN undo_run_id, DROP COLUMN undo_report, DROP COLUMN files_removed_at;
