-- $1 ids: of those that are recorded their hash, and whether their status may move.
SELECT transaction_id, content_hash, pending FROM transaction_keys WHERE transaction_id = ANY ($1)
