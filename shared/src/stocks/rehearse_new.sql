-- $1 the upload, then hashes, tickers and lines. What another chunk of it has rehearsed before is not returned.
INSERT INTO upload_trial_keys (upload_id, content_hash, transaction_id, line)
SELECT $1, content_hash, ticker, line
FROM unnest($2::bigint[], $3::text[], $4::bigint[]) AS i (content_hash, ticker, line)
ORDER BY ticker COLLATE "C"
ON CONFLICT DO NOTHING RETURNING transaction_id
