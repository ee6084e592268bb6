-- Rows that went, by where they came from: the uploads' reports tell of theirs.
CREATE TEMP TABLE gone (source_id uuid, rows bigint NOT NULL) ON COMMIT DROP;
WITH removed AS (DELETE FROM transactions WHERE source <> 'trade' RETURNING source_id)
INSERT INTO gone SELECT source_id, count(*) FROM removed GROUP BY source_id;

DELETE FROM transaction_keys k
WHERE NOT EXISTS (SELECT FROM transactions t WHERE t.transaction_id = k.transaction_id);

-- Nobody relies on what is gone, nor moves it, nor owes for it.
DELETE FROM upload_moves;
DELETE FROM upload_overlaps;
DELETE FROM upload_postings;
DELETE FROM upload_trial_keys t USING uploads u WHERE u.id = t.upload_id AND u.kind = 'transactions';
