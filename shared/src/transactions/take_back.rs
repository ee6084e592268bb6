//! Taking an upload's rows back: rows and keys go, and every summary is what it would be without them,
//! at each commit. Each call works in the caller's transaction; repeated after a crash it finds only
//! what is left.

use crate::summaries::kept::{self, CLIENT_FAILURES, CLIENT_TOTALS, DAY_TOTALS, MERCHANT_DAYS};
use chrono::NaiveDate;
use chrono_tz::Tz;
use tokio_postgres::{Client, Error, Transaction};
use uuid::Uuid;

/// Blocks (of 8 KiB) of the table that are searched and cleared in one transaction, for every 50 records of
/// a chunk: such a part has about the rows of two chunks, and loads wait for it about as long as for those.
const BLOCKS: i64 = 3;
/// The rows that leave the summaries.
const LEAVING: &str = "CREATE TEMP TABLE leaving (LIKE transactions) ON COMMIT DROP";

/// A range of blocks of one month's partition.
#[derive(Debug, Clone)]
pub struct Piece {
    partition: String,
    from: i64,
    until: i64,
}

/// How many blocks are worked through in one transaction where chunks have so many records.
pub(crate) fn blocks_at_once(chunk_records: u64) -> i64 {
    i64::try_from(chunk_records / 50).unwrap_or(i64::MAX / BLOCKS).max(1) * BLOCKS
}

/// The pieces of the months from one day's to another's, in groups for a transaction each, sized after the
/// chunks that load. What is written while they are worked through is nobody's who is being undone.
pub async fn pieces(
    client: &Client,
    first: NaiveDate,
    last: NaiveDate,
    chunk_records: u64,
) -> Result<Vec<Vec<Piece>>, Error> {
    let most = blocks_at_once(chunk_records);
    let partitions = client
        .query(
            "SELECT relation::text, pg_relation_size(relation) / current_setting('block_size')::bigint
             FROM generate_series(date_trunc('month', $1::date::timestamp), $2::date::timestamp, '1 month') AS month,
                  LATERAL to_regclass('transactions_' || to_char(month, 'YYYY_MM')) AS relation
             WHERE relation IS NOT NULL ORDER BY month",
            &[&first, &last],
        )
        .await?;
    let (mut groups, mut group, mut room) = (Vec::new(), Vec::new(), most);
    for row in partitions {
        let (partition, blocks): (String, i64) = (row.get(0), row.get(1));
        let mut from = 0;
        while from < blocks {
            let until = blocks.min(from + room);
            group.push(Piece { partition: partition.clone(), from, until });
            room -= until - from;
            from = until;
            if room == 0 {
                groups.push(std::mem::take(&mut group));
                room = most;
            }
        }
    }
    if !group.is_empty() {
        groups.push(group);
    }
    Ok(groups)
}

/// Lets the planner know how large the tables are: just after a large load it would plan for the small
/// ones that they were.
pub async fn analyse(client: &Client, groups: &[Vec<Piece>]) -> Result<(), Error> {
    let mut tables =
        vec!["transaction_keys", "merchant_days", "client_totals", "client_failures", "day_totals"];
    tables.extend(groups.iter().flatten().map(|piece| piece.partition.as_str()));
    tables.dedup();
    client.batch_execute(&format!("ANALYZE {}", tables.join(", "))).await
}

/// Removes the upload's rows that lie in a group of pieces; returns how many. Lock order: keys, then
/// summaries.
pub async fn remove_rows(
    transaction: &Transaction<'_>,
    upload: Uuid,
    group: &[Piece],
    zone: Tz,
) -> Result<i64, Error> {
    transaction.batch_execute(LEAVING).await?;
    let mut removed = 0;
    for Piece { partition, from, until } in group {
        // The names are made by ensure_month, the numbers are numbers.
        let statement = format!(
            "WITH gone AS (
                 DELETE FROM {partition} WHERE ctid >= '({from},0)'::tid AND ctid < '({until},0)'::tid
                     AND source_id = $1 AND source = 'upload'
                 RETURNING *)
             INSERT INTO leaving SELECT * FROM gone"
        );
        removed += transaction.execute(&statement, &[&upload]).await?;
    }
    if removed == 0 {
        return Ok(0);
    }
    transaction.batch_execute("ANALYZE leaving").await?;
    transaction
        .execute(
            "DELETE FROM transaction_keys k USING leaving l WHERE k.transaction_id = l.transaction_id",
            &[],
        )
        .await?;
    subtract(transaction, zone).await?;
    Ok(removed as i64)
}

/// Makes up to `limit` transactions pending again that the upload moved; returns how many it looked at.
pub async fn restore_statuses(
    transaction: &Transaction<'_>,
    upload: Uuid,
    limit: i64,
    zone: Tz,
) -> Result<i64, Error> {
    transaction.batch_execute(LEAVING).await?;
    let ids: Vec<String> = transaction
        .query(
            "DELETE FROM upload_moves WHERE transaction_id IN (
                 SELECT transaction_id FROM upload_moves WHERE upload_id = $1 ORDER BY transaction_id LIMIT $2)
             RETURNING transaction_id",
            &[&upload, &limit],
        )
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    transaction
        .execute(
            "SELECT 1 FROM transaction_keys WHERE transaction_id = ANY ($1::text[])
             ORDER BY transaction_id FOR NO KEY UPDATE",
            &[&ids],
        )
        .await?;
    // What the upload brought itself is gone already.
    let found = transaction
        .execute(
            "INSERT INTO leaving SELECT t.* FROM transaction_keys k
             JOIN transactions t ON t.client_id = k.client_id AND t.occurred_at = k.occurred_at
                                AND t.transaction_id = k.transaction_id
             WHERE k.transaction_id = ANY ($1::text[])",
            &[&ids],
        )
        .await?;
    if found > 0 {
        transaction
            .batch_execute(
                "ANALYZE leaving;
                 UPDATE transactions t SET status = 'pending' FROM leaving l
                 WHERE t.client_id = l.client_id AND t.occurred_at = l.occurred_at
                   AND t.transaction_id = l.transaction_id;
                 UPDATE transaction_keys k SET pending = true FROM leaving l
                 WHERE k.transaction_id = l.transaction_id",
            )
            .await?;
        subtract(transaction, zone).await?;
        transaction.batch_execute("UPDATE leaving SET status = 'pending'").await?;
        add_again(transaction, zone).await?;
    }
    Ok(ids.len() as i64)
}

/// Takes the rows of `leaving` out of every summary.
async fn subtract(transaction: &Transaction<'_>, zone: Tz) -> Result<(), Error> {
    let mut statements = include_str!("subtract.sql").to_owned();
    for (kept, left) in [
        (&MERCHANT_DAYS, "left_merchants"),
        (&CLIENT_TOTALS, "left_clients"),
        (&CLIENT_FAILURES, "left_failures"),
        (&DAY_TOTALS, "left_days"),
    ] {
        statements = statements
            .replace(&format!(":hold_{};", kept.table), &format!("{};", kept.hold(left)))
            .replace(&format!(":{};", kept.table), &format!("{};", kept.totals("leaving AS t", "true")));
    }
    // Tables cannot be made by statements with parameters.
    transaction.batch_execute(&kept::in_zone(&statements, zone)).await
}

/// Adds the rows of `leaving`, which are pending again, to the summaries, in the one lock order.
async fn add_again(transaction: &Transaction<'_>, zone: Tz) -> Result<(), Error> {
    for kept in [&MERCHANT_DAYS, &CLIENT_TOTALS, &DAY_TOTALS] {
        let statement = kept.add_sorted(&kept.totals("leaving AS t", "true"));
        transaction.execute(&kept::in_zone(&statement, zone), &[]).await?;
    }
    Ok(())
}
