-- How attempts ended. One whose claim was lost meanwhile may have been called unknown: who asked the
-- provider knows better.
UPDATE delivery_attempts a SET
    outcome = e.outcome, status_code = e.status_code, duration_ms = e.duration_ms, response = e.response,
    error = e.error
FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::integer[], $5::integer[], $6::text[], $7::text[])
     AS e (delivery_id, number, outcome, status_code, duration_ms, response, error)
WHERE a.delivery_id = e.delivery_id AND a.number = e.number AND a.outcome IN ('sending', 'unknown')
