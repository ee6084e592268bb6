-- $1 the run. Uploads that have brought something, or were to, are undone: their files may be loaded again, and no
-- step of theirs is retried. One that failed before it loaded anything may still be; a dry run brought nothing. An
-- undo that stood still is done by this.
UPDATE uploads u
SET state = 'undone', undo_run_id = $1,
    undo_report = coalesce(u.undo_report, '{}') || jsonb_build_object(
        'transactions', coalesce((u.undo_report->>'transactions')::bigint, 0) + coalesce(g.rows, 0),
        'statuses', coalesce((u.undo_report->>'statuses')::bigint, 0),
        'reversed', p.posted)
FROM uploads w
LEFT JOIN gone g ON g.source_id = w.id
LEFT JOIN (
    SELECT DISTINCT ON (j.source_id) j.source_id, jsonb_build_object('journal_id', r.journal_id, 'accounts',
               (SELECT count(*) FROM entries e WHERE e.journal_id = r.journal_id AND e.client_id IS NOT NULL)) AS posted
    FROM reversals r JOIN journals j ON j.id = r.reversed
    ORDER BY j.source_id, j.part DESC
) AS p ON p.source_id = w.id
WHERE u.id = w.id AND w.kind = 'transactions' AND w.state IN ('finished', 'failed', 'cancelled')
  AND w.options->'dry_run' IS NULL
  AND (w.state = 'finished' OR w.undo_run_id IS NOT NULL
       OR EXISTS (SELECT FROM upload_chunks c WHERE c.upload_id = w.id AND c.loaded_at IS NOT NULL))
