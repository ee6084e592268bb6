-- Schedules that are due for longer than a scheduler may take to follow another one, and runs of ticks that were
-- given up before they began. Rows are inserted once for each key.
WITH overdue AS (
    SELECT 'schedule_overdue' AS kind,
           'overdue:' || s.id || ':' || extract(epoch FROM s.next_at) AS key,
           s.name AS subject,
           'It was due at ' || to_char(s.next_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
               || ' and has not fired. Is a scheduler running (`millrace scheduler`, `millrace up`)? The page of schedules says which one leads.' AS message
    FROM schedules s
    WHERE s.next_at < clock_timestamp() - interval '90 seconds'
), unstarted AS (
    SELECT 'schedule_unstarted', 'unstarted:' || r.id, s.name,
           'The run of its tick of ' || to_char(t.nominal_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
               || ' was given up before it began: no worker had time for it.'
    FROM runs r
    JOIN schedule_ticks t ON t.run_id = r.id
    JOIN schedules s ON s.id = t.schedule_id
    WHERE r.state = 'discarded' AND r.started_at IS NULL AND r.finished_at > now() - interval '1 hour'
)
INSERT INTO alerts (kind, key, subject, message)
SELECT * FROM overdue UNION ALL SELECT * FROM unstarted
ON CONFLICT (key) DO NOTHING
RETURNING id
