-- What there is to know of deliveries before they are sent.
SELECT d.id, d.state, d.run_id, d.address, d.permit_at, d.endpoint_id, n.title, n.body, n.html, n.payload,
       e.secret, CASE WHEN e.previous_until > now() THEN e.previous_secret END AS previous_secret,
       e.disabled_reason, d.channel = 'webhook' AND e.id IS NULL AS endpoint_gone,
       EXISTS (SELECT 1 FROM notification_optouts o
               WHERE o.client_id = d.client_id AND o.channel = d.channel) AS unwanted,
       p.provider AS perhaps_provider, p.started_at >= r.created_at AS perhaps_in_run,
       a.number AS open_number, a.provider AS open_provider
FROM deliveries d
JOIN notifications n ON n.id = d.notification_id
LEFT JOIN webhook_endpoints e ON e.id = d.endpoint_id
LEFT JOIN runs r ON r.id = d.run_id
LEFT JOIN LATERAL (
    SELECT t.provider, t.started_at FROM delivery_attempts t
    WHERE t.delivery_id = d.id AND t.outcome = 'unknown' ORDER BY t.number DESC LIMIT 1) AS p ON true
LEFT JOIN delivery_attempts a ON a.delivery_id = d.id AND a.outcome = 'sending'
WHERE d.id = ANY ($1)
