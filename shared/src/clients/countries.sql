WITH RECURSIVE used AS (
    (SELECT country FROM clients WHERE country IS NOT NULL ORDER BY country LIMIT 1)
    UNION ALL
    SELECT (SELECT c.country FROM clients c WHERE c.country > used.country ORDER BY c.country LIMIT 1)
    FROM used WHERE used.country IS NOT NULL
)
SELECT country FROM used WHERE country IS NOT NULL LIMIT $1
