-- Where deliveries stand after an attempt. `held`: whether its claim still holds; if not, only that the
-- message was accepted counts.
UPDATE deliveries d SET
    attempts = greatest(d.attempts, e.number),
    last_attempt_at = clock_timestamp(),
    provider = e.provider,
    error_message = CASE WHEN e.state = 'delivered' THEN NULL ELSE e.error END,
    permit_at = NULL,
    state = e.state,
    ended_at = CASE WHEN e.state <> 'pending' THEN clock_timestamp() END
FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::boolean[])
     AS e (delivery_id, number, provider, state, error, held)
WHERE d.id = e.delivery_id AND (e.held AND d.state = 'pending' OR e.state = 'delivered' AND d.state <> 'delivered')
