//! The registry of ids: which of a batch's rows are new, and what became of the others.

use super::{
    copy::CopyWriter,
    load::{Conflict, Known, Loaded},
    model::TransactionStatus,
    prepared::Prepared,
    totals::FEW,
    versions::{described, name_conflicts, text},
};
use crate::{db::LoadTransaction, ids::UploadId};
use chrono::{DateTime, Utc};
use tokio_postgres::{Error, Row, Transaction, error::SqlState};

/// Registers the batch's ids if all of them are new, which is usual, by copying them straight into the
/// registry; else takes that back and returns false. A concurrent load of the same id is awaited here.
pub(super) async fn register_all(transaction: &Transaction<'_>, prepared: &Prepared) -> Result<bool, Error> {
    transaction.batch_execute("SAVEPOINT keys").await?;
    match copy(transaction, prepared, "transaction_keys").await {
        Ok(()) => transaction.batch_execute("RELEASE keys").await.map(|()| true),
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            transaction.batch_execute("ROLLBACK TO keys; RELEASE keys").await.map(|()| false)
        }
        Err(error) => Err(error),
    }
}

/// Registers those of the batch's ids that are new; tells by row which are. A concurrent load of the
/// same id is awaited here.
pub(super) async fn register_new(
    transaction: &LoadTransaction<'_>,
    prepared: &Prepared,
) -> Result<Vec<bool>, Error> {
    let registered = if prepared.by_id.len() < FEW {
        register_few(transaction, prepared).await?
    } else {
        copy(transaction, prepared, "incoming_keys").await?;
        // A temporary table is read in the order of writing, which is the order of the ids.
        transaction
            .query(
                "INSERT INTO transaction_keys SELECT * FROM incoming_keys
                 ON CONFLICT (transaction_id) DO NOTHING RETURNING transaction_id",
                &[],
            )
            .await?
    };
    let mut new = vec![false; prepared.batch.rows.len()];
    for row in registered.iter().filter_map(|row| prepared.find(row.get(0))) {
        new[row as usize] = true;
    }
    Ok(new)
}

/// Registers few ids, which are parameters, in their order.
async fn register_few(transaction: &LoadTransaction<'_>, prepared: &Prepared) -> Result<Vec<Row>, Error> {
    let rows = || prepared.by_id.iter().map(|&row| prepared.row(row));
    let all = &prepared.batch.text;
    let ids: Vec<&str> = rows().map(|row| text(row.transaction_id.of(all))).collect();
    let clients: Vec<&str> = rows().map(|row| text(row.client_id.of(all))).collect();
    let times: Vec<DateTime<Utc>> =
        rows().map(|row| DateTime::from_timestamp_micros(row.occurred_us).unwrap_or_default()).collect();
    let hashes: Vec<i64> = rows().map(|row| row.content_hash).collect();
    let pending: Vec<bool> = rows().map(|row| row.status == TransactionStatus::Pending).collect();
    let statement = transaction
        .prepared(
            "INSERT INTO transaction_keys (transaction_id, client_id, occurred_at, content_hash, pending)
             SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::bigint[], $5::boolean[])
             ON CONFLICT (transaction_id) DO NOTHING RETURNING transaction_id",
        )
        .await?;
    transaction.query(&statement, &[&ids, &clients, &times, &hashes, &pending]).await
}

pub(super) async fn copy(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    table: &str,
) -> Result<(), Error> {
    let statement = format!(
        "COPY {table} (occurred_at, content_hash, pending, client_id, transaction_id) FROM STDIN BINARY"
    );
    let mut copy = CopyWriter::begin(transaction, &statement).await?;
    let all = &prepared.batch.text;
    for &index in &prepared.by_id {
        let row = prepared.row(index);
        copy.row(5).await?;
        copy.instant(row.occurred_us);
        copy.bigint(row.content_hash);
        copy.boolean(row.status == TransactionStatus::Pending);
        copy.bytes(row.client_id.of(all));
        copy.bytes(row.transaction_id.of(all));
    }
    copy.finish().await?;
    Ok(())
}

/// Tells apart the rows whose ids were registered before: duplicates and conflicts, which are counted,
/// and those whose status may move.
pub(super) async fn classify(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    new: &[bool],
    loaded: &mut Loaded,
) -> Result<Known, Error> {
    let ids: Vec<&str> = prepared
        .by_id
        .iter()
        .filter(|&&row| !new[row as usize])
        .map(|&row| text(prepared.row(row).transaction_id.of(&prepared.batch.text)))
        .collect();
    let rows = transaction.query(include_str!("classify.sql"), &[&ids]).await?;
    let (mut known, mut conflicts) = (Known::default(), Vec::new());
    for row in rows {
        let Some(index) = prepared.find(row.get(0)) else { continue };
        let hash: i64 = row.get(1);
        known.hashes.insert(index, hash);
        let moves = row.get(2) && prepared.row(index).status != TransactionStatus::Pending;
        match (hash == prepared.row(index).content_hash, moves) {
            (false, _) => conflicts.push(index),
            (true, true) => known.moves.push(index),
            (true, false) => known.duplicates.push(index),
        }
    }
    loaded.duplicates.extend(&known.duplicates);
    loaded.conflicts.extend(name_conflicts(transaction, prepared, &conflicts).await?);
    known.moves.sort_unstable_by_key(|&row| prepared.row(row).transaction_id.of(&prepared.batch.text));
    Ok(known)
}

/// Tells which of the rows that nobody registered no other chunk of the upload has rehearsed before.
pub(super) async fn rehearse_new(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    known: &Known,
    upload: UploadId,
    loaded: &mut Loaded,
) -> Result<(), Error> {
    let rows = || prepared.by_id.iter().map(|&index| prepared.row(index));
    let lines: Vec<i64> = rows().map(|row| row.line).collect();
    let ids: Vec<&str> = rows().map(|row| text(row.transaction_id.of(&prepared.batch.text))).collect();
    let met = transaction
        .query(
            "WITH unknown AS (
                 SELECT i.* FROM incoming_keys i
                 WHERE NOT EXISTS (SELECT 1 FROM transaction_keys k WHERE k.transaction_id = i.transaction_id)
             ), first AS (
                 INSERT INTO upload_trial_keys (upload_id, content_hash, transaction_id, line)
                 SELECT $1, u.content_hash, u.transaction_id, l.line FROM unknown u
                 JOIN unnest($2::text[], $3::bigint[]) AS l (transaction_id, line) USING (transaction_id)
                 ORDER BY u.transaction_id
                 ON CONFLICT DO NOTHING RETURNING transaction_id
             )
             SELECT u.transaction_id FROM unknown u
             WHERE NOT EXISTS (SELECT 1 FROM first f WHERE f.transaction_id = u.transaction_id)",
            &[&upload.0, &ids, &lines],
        )
        .await?;
    let ids: Vec<&str> = met.iter().map(|row| row.get(0)).collect();
    // Another chunk's row may have been committed while the statement above waited for it.
    let hashes = transaction
        .query(
            "SELECT transaction_id, content_hash, line FROM upload_trial_keys
             WHERE upload_id = $1 AND transaction_id = ANY ($2)",
            &[&upload.0, &ids],
        )
        .await?;
    for known in &hashes {
        let Some(index) = prepared.find(known.get(0)) else { continue };
        let row = prepared.row(index);
        if row.content_hash == known.get::<_, i64>(1) {
            loaded.duplicates.push(index);
        } else {
            let place = known.get::<_, Option<i64>>(2).map(|line| format!("on line {line} of"));
            let message = format!(
                "transaction {} stands {} this file with another content; here, on line {}, {}",
                text(row.transaction_id.of(&prepared.batch.text)),
                place.as_deref().unwrap_or("elsewhere in"),
                row.line,
                described(&prepared.batch, row)
            );
            loaded.conflicts.push(Conflict { row: index as usize, message });
        }
    }
    loaded.inserted = (prepared.by_id.len() - known.hashes.len() - ids.len()) as i64;
    Ok(())
}
