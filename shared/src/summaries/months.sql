-- The reporting zone's months that rows or the totals of :table are in, and how many blocks of partitions have
-- to be read for each: a month can lie in two.
WITH partitions AS (
    SELECT c.relname, to_date(right(c.relname, 7), 'YYYY_MM')::timestamp AS since,
           pg_relation_size(c.oid) / current_setting('block_size')::bigint AS blocks
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'transactions'::regclass
)
SELECT month, sum(blocks)::bigint FROM (
    SELECT DISTINCT relname, date_trunc('month', edge AT TIME ZONE 'UTC' AT TIME ZONE :zone)::date AS month, blocks
    FROM partitions, LATERAL (VALUES (since), (since + interval '1 month' - interval '1 microsecond')) AS edges (edge)
    UNION ALL
    SELECT DISTINCT NULL::name, date_trunc('month', day::timestamp)::date, 0::bigint FROM :table
) AS months
GROUP BY month ORDER BY month
