-- $1 an upload: the others that found rows of it, or of such as did, and whose rows it found likewise. None of
-- such a circle can go before the others.
WITH RECURSIVE later AS (
    SELECT $1::uuid AS id UNION SELECT o.later FROM upload_overlaps o JOIN later l ON o.earlier = l.id
), earlier AS (
    SELECT $1::uuid AS id UNION SELECT o.earlier FROM upload_overlaps o JOIN earlier e ON o.later = e.id
)
SELECT id FROM later JOIN earlier USING (id) WHERE id <> $1
