-- For each client one element of $1, and of $2 and $3 when its first and last transaction occurred: its latest
-- transactions in no order, as many as a page shows and one more. The months come backwards, and those that are not
-- needed are not opened. The limit stands here since the planner has to know how few they are.
SELECT q.question, t.*
FROM unnest((SELECT $1::text[]), (SELECT $2::timestamptz[]), (SELECT $3::timestamptz[]))
     WITH ORDINALITY AS q(client_id, first_at, last_at, question)
CROSS JOIN LATERAL (
    SELECT transaction_id, occurred_at, client_id, merchant_id, product_id, kind, ticker, stock_name, shares, price,
           amount, currency, status, channel, source, source_id, source_line
    FROM transactions
    WHERE client_id = q.client_id AND occurred_at BETWEEN q.first_at AND q.last_at
    ORDER BY occurred_at DESC, transaction_id DESC
    LIMIT 26
) AS t
