-- Takes the rows of the temporary table `leaving`, which are gone already (or have another status now), out
-- of every summary: held in the one order, counts and sums subtracted, and where a removed value was
-- an extreme, the extremes computed again from what is left. :zone is the reporting zone, :merchant_days
-- the totals of `leaving` for that table, :hold_merchant_days what holds those totals. One that is missing is
-- made as what leaves it, and so goes again at once: it is held for the sake of a rebuild.
CREATE TEMP TABLE left_merchants ON COMMIT DROP AS :merchant_days;
ANALYZE left_merchants;
:hold_merchant_days;
DELETE FROM merchant_days t USING left_merchants l
WHERE (t.merchant_id, t.day, t.currency, t.kind) = (l.merchant_id, l.day, l.currency, l.kind) AND t.count = l.count;
UPDATE merchant_days t SET count = t.count - l.count, sum = t.sum - l.sum FROM left_merchants l
WHERE (t.merchant_id, t.day, t.currency, t.kind) = (l.merchant_id, l.day, l.currency, l.kind);
UPDATE merchant_days t SET min = c.min, max = c.max
FROM (
    SELECT l.merchant_id, l.day, l.currency, l.kind, min(x.amount) AS min, max(x.amount) AS max
    FROM left_merchants l
    JOIN merchant_days d USING (merchant_id, day, currency, kind)
    JOIN transactions x ON x.merchant_id = l.merchant_id AND x.currency = l.currency AND x.kind = l.kind
                       AND (x.occurred_at AT TIME ZONE :zone)::date = l.day
    WHERE (l.min = d.min OR l.max = d.max) AND x.status <> 'failed'
      AND x.occurred_at >= (SELECT min(day) FROM left_merchants)::timestamp AT TIME ZONE :zone
      AND x.occurred_at < (SELECT max(day) + 1 FROM left_merchants)::timestamp AT TIME ZONE :zone
    GROUP BY 1, 2, 3, 4) AS c
WHERE (t.merchant_id, t.day, t.currency, t.kind) = (c.merchant_id, c.day, c.currency, c.kind);

CREATE TEMP TABLE left_clients ON COMMIT DROP AS :client_totals;
ANALYZE left_clients;
:hold_client_totals;
DELETE FROM client_totals t USING left_clients l
WHERE (t.client_id, t.currency) = (l.client_id, l.currency) AND t.count = l.count;
UPDATE client_totals t SET count = t.count - l.count, sum = t.sum - l.sum, spent = t.spent - l.spent,
    gained = t.gained - l.gained, sum_squares = t.sum_squares - l.sum_squares
FROM left_clients l WHERE (t.client_id, t.currency) = (l.client_id, l.currency);
-- Counted before they are looked up: for many, one pass over all rows is better than a search for each, and
-- nobody could guess how many.
CREATE TEMP TABLE shrunk_clients ON COMMIT DROP AS
SELECT client_id, currency, d.first_at, d.last_at
FROM left_clients l JOIN client_totals d USING (client_id, currency)
WHERE l.min = d.min OR l.max = d.max OR l.first_at = d.first_at OR l.last_at = d.last_at;
ANALYZE shrunk_clients;
UPDATE client_totals t SET min = c.min, max = c.max, first_at = c.first_at, last_at = c.last_at
FROM (
    SELECT s.client_id, s.currency, min(x.amount) AS min, max(x.amount) AS max,
           min(x.occurred_at) AS first_at, max(x.occurred_at) AS last_at
    FROM shrunk_clients s
    JOIN transactions x ON x.client_id = s.client_id AND x.currency = s.currency
                       AND x.occurred_at BETWEEN s.first_at AND s.last_at
    WHERE x.status <> 'failed'
    GROUP BY 1, 2) AS c
WHERE (t.client_id, t.currency) = (c.client_id, c.currency);

CREATE TEMP TABLE left_failures ON COMMIT DROP AS :client_failures;
:hold_client_failures;
DELETE FROM client_failures t USING left_failures l WHERE t.client_id = l.client_id AND t.count = l.count;
UPDATE client_failures t SET count = t.count - l.count FROM left_failures l WHERE t.client_id = l.client_id;
UPDATE client_failures t SET first_at = c.first_at, last_at = c.last_at
FROM (
    SELECT l.client_id, min(x.occurred_at) AS first_at, max(x.occurred_at) AS last_at
    FROM left_failures l
    JOIN client_failures d USING (client_id)
    JOIN transactions x ON x.client_id = l.client_id AND x.occurred_at BETWEEN d.first_at AND d.last_at
    WHERE (l.first_at = d.first_at OR l.last_at = d.last_at) AND x.status = 'failed'
    GROUP BY 1) AS c
WHERE t.client_id = c.client_id;

CREATE TEMP TABLE left_days ON COMMIT DROP AS :day_totals;
:hold_day_totals;
DELETE FROM day_totals t USING left_days l
WHERE (t.day, t.currency, t.kind, t.status) = (l.day, l.currency, l.kind, l.status) AND t.count = l.count;
UPDATE day_totals t SET count = t.count - l.count, sum = t.sum - l.sum FROM left_days l
WHERE (t.day, t.currency, t.kind, t.status) = (l.day, l.currency, l.kind, l.status);
UPDATE day_totals t SET min = c.min, max = c.max
FROM (
    SELECT l.day, l.currency, l.kind, l.status, min(x.amount) AS min, max(x.amount) AS max
    FROM left_days l
    JOIN day_totals d USING (day, currency, kind, status)
    JOIN transactions x ON (x.occurred_at AT TIME ZONE :zone)::date = l.day AND x.currency = l.currency
                       AND x.kind = l.kind AND x.status = l.status
    WHERE (l.min = d.min OR l.max = d.max)
      AND x.occurred_at >= (SELECT min(day) FROM left_days)::timestamp AT TIME ZONE :zone
      AND x.occurred_at < (SELECT max(day) + 1 FROM left_days)::timestamp AT TIME ZONE :zone
    GROUP BY 1, 2, 3, 4) AS c
WHERE (t.day, t.currency, t.kind, t.status) = (c.day, c.currency, c.kind, c.status);
