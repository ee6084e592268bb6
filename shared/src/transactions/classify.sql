-- Of the ids in incoming_keys those that are recorded: their hash, and whether their status may move.
SELECT i.transaction_id, k.content_hash, k.pending AND NOT i.pending
FROM incoming_keys i JOIN transaction_keys k USING (transaction_id)
