//! Sample files.

use shared::synthetic::{self, DataRequest, Dataset, Tally};

/// What is asked for, as the command line, the api and the worker generate it.
pub fn generated(request: &DataRequest) -> (Vec<u8>, Tally) {
    let mut file = Vec::new();
    let data = Dataset::try_from(request).expect("it can be generated");
    let tally = synthetic::write(&data, &mut file).expect("memory takes it");
    (file, tally)
}

/// Service E's form, seeded.
pub fn transactions(rows: u64, seed: u64) -> Vec<u8> {
    let mut file = Vec::new();
    synthetic::write_transactions(&mut file, rows, seed, synthetic::TransactionForm::E)
        .expect("memory takes it");
    file
}

/// Thirteen columns, seeded.
pub fn wide_transactions(rows: u64, seed: u64) -> Vec<u8> {
    let mut file = Vec::new();
    synthetic::write_transactions(&mut file, rows, seed, synthetic::TransactionForm::Wide)
        .expect("memory takes it");
    file
}

/// A file in service E's form of these rows.
pub fn rows(rows: &[&str]) -> String {
    let mut file = "transaction_id,user_id,product_id,timestamp,transaction_amount\n".to_owned();
    for row in rows {
        file.push_str(row);
        file.push('\n');
    }
    file
}

/// The queries that compare every summary with the same aggregate over the rows; each returns
/// nothing while they agree.
pub const SUMMARIES_AGREE: &[&str] = &[
    "(SELECT * FROM day_totals EXCEPT
      SELECT (occurred_at AT TIME ZONE reporting_zone)::date, currency, kind, status, count(*), sum(amount), min(amount), max(amount)
      FROM transactions, settings GROUP BY 1, 2, 3, 4)
     UNION ALL
     (SELECT (occurred_at AT TIME ZONE reporting_zone)::date, currency, kind, status, count(*), sum(amount), min(amount), max(amount)
      FROM transactions, settings GROUP BY 1, 2, 3, 4
      EXCEPT SELECT * FROM day_totals)",
    "WITH kept AS (SELECT merchant_id, day, currency, kind, count, sum, min, max FROM merchant_days),
          raw AS (SELECT merchant_id, (occurred_at AT TIME ZONE reporting_zone)::date, currency, kind, count(*), sum(amount), min(amount), max(amount)
                  FROM transactions, settings WHERE status <> 'failed' AND merchant_id IS NOT NULL GROUP BY 1, 2, 3, 4)
     (TABLE kept EXCEPT TABLE raw) UNION ALL (TABLE raw EXCEPT TABLE kept)",
    "WITH kept AS (SELECT client_id, currency, count, spent, gained, sum, sum_squares, min, max, first_at, last_at FROM client_totals),
          raw AS (SELECT client_id, currency, count(*),
                      coalesce(sum(amount) FILTER (WHERE kind IN ('buy', 'payment')), 0),
                      coalesce(sum(amount) FILTER (WHERE kind IN ('sell', 'refund')), 0),
                      sum(amount), sum(amount * amount), min(amount), max(amount), min(occurred_at), max(occurred_at)
                  FROM transactions WHERE status <> 'failed' GROUP BY 1, 2)
     (TABLE kept EXCEPT TABLE raw) UNION ALL (TABLE raw EXCEPT TABLE kept)",
    "WITH kept AS (SELECT client_id, count, first_at, last_at FROM client_failures),
          raw AS (SELECT client_id, count(*), min(occurred_at), max(occurred_at)
                  FROM transactions WHERE status = 'failed' GROUP BY 1)
     (TABLE kept EXCEPT TABLE raw) UNION ALL (TABLE raw EXCEPT TABLE kept)",
    "SELECT k.transaction_id FROM transaction_keys k FULL JOIN transactions t USING (transaction_id)
     WHERE k.transaction_id IS NULL OR t.transaction_id IS NULL
        OR (k.occurred_at, k.client_id, k.pending)
           IS DISTINCT FROM (t.occurred_at, t.client_id, t.status = 'pending')",
    "SELECT transaction_id FROM transactions GROUP BY 1 HAVING count(*) > 1",
    "SELECT t.transaction_id FROM transactions t LEFT JOIN clients c USING (client_id) WHERE c.client_id IS NULL",
    // The ledger: what uploads posted is what their trades moved, and positions are its sums.
    "SELECT client_id, c.position, c.opening_balance + coalesce(e.sum, 0) FROM clients c
     LEFT JOIN (SELECT client_id, sum(amount) AS sum FROM entries WHERE asset_kind = 'cash' GROUP BY 1) e USING (client_id)
     WHERE c.position <> c.opening_balance + coalesce(e.sum, 0)",
    "WITH posted AS (SELECT client_id, asset, sum(amount) AS amount FROM entries WHERE client_id IS NOT NULL AND asset_kind = 'cash'
                     GROUP BY 1, 2 HAVING sum(amount) <> 0),
          noted AS (SELECT client_id, c.currency AS asset, sum(amount) AS amount
                    FROM upload_postings, unnest(clients, amounts) AS o (client_id, amount)
                    JOIN clients c USING (client_id) GROUP BY 1, 2),
          moved AS (SELECT client_id, c.currency AS asset, sum(CASE kind WHEN 'buy' THEN -account_amount ELSE account_amount END) AS amount
                    FROM transactions JOIN clients c USING (client_id)
                    WHERE kind IN ('buy', 'sell') AND status = 'success' GROUP BY 1, 2),
          kept AS (SELECT client_id, asset, sum(amount) AS amount FROM (TABLE posted UNION ALL TABLE noted) AS k
                   GROUP BY 1, 2 HAVING sum(amount) <> 0)
     (TABLE kept EXCEPT SELECT * FROM moved WHERE amount <> 0) UNION ALL (SELECT * FROM moved WHERE amount <> 0 EXCEPT TABLE kept)",
    "SELECT p.upload_id FROM upload_postings p JOIN uploads u ON u.id = p.upload_id WHERE u.state IN ('finished', 'undone')",
    "SELECT upload_id FROM upload_chunks WHERE loaded_at IS NOT NULL
        AND records <> inserted + updated + duplicates + conflicts + rejected",
    "SELECT u.upload_id, u.chunk FROM upload_chunks u WHERE u.loaded_at IS NOT NULL AND u.rejected + u.conflicts <>
        (SELECT count(*) FROM upload_rejects r WHERE r.upload_id = u.upload_id AND r.chunk = u.chunk)",
];

/// Panics unless every summary equals the same aggregate over the rows, every row has its key and its
/// client, and every chunk's counts add up.
pub async fn expect_everything_exact(db: &crate::TestDatabase) {
    for query in SUMMARIES_AGREE {
        db.expect_nothing(query).await;
    }
}
