//! Comparing what two databases hold, but for the ids that each gave its own uploads.

use crate::TestDatabase;

/// Rows by which two databases are compared; an upload is named by its file.
const RECORD: &[&str] = &[
    "SELECT to_jsonb(t) - 'source_id' || jsonb_build_object('file', u.filename) AS row
     FROM transactions t JOIN uploads u ON u.id = t.source_id",
    "SELECT to_jsonb(t) AS row FROM transaction_keys t",
    "SELECT to_jsonb(t) AS row FROM day_totals t",
    "SELECT to_jsonb(t) AS row FROM merchant_days t",
    // 1.10 and 1.1000 are the same sum of squares.
    "SELECT to_jsonb(t) - 'sum_squares' || jsonb_build_object('squares', trim_scale(sum_squares)) AS row FROM client_totals t",
    "SELECT to_jsonb(t) AS row FROM client_failures t",
    "SELECT jsonb_build_array(m.transaction_id, u.filename) AS row FROM upload_moves m JOIN uploads u ON u.id = m.upload_id",
    "SELECT jsonb_build_array(client_id, position) AS row FROM clients WHERE position <> 0",
    "SELECT to_jsonb(p) - 'upload_id' AS row FROM upload_postings p",
];

/// Panics unless both hold the same transactions, keys, summaries and positions. Stubs of clients, and
/// journals that cancel each other out, may differ.
pub async fn expect_alike(one: &TestDatabase, other: &TestDatabase) {
    for rows in RECORD {
        // A sum of hashes: no order, and no text of all rows in memory.
        let digest = format!(
            "SELECT count(*)::text || ' rows, ' || coalesce(sum(hashtextextended(row::text, 1)::numeric), 0)::text
             FROM ({rows}) AS q"
        );
        let (one, other): (String, String) = (one.one(&digest, &[]).await, other.one(&digest, &[]).await);
        assert_eq!(one, other, "differs: {rows}");
    }
}
