//! Deleting all transactions: for those who test against an installation whose data is nobody's. Every row
//! goes but those of settled trades, which are the ledger's own record, and everything that is kept of rows
//! becomes that of what is left. The ledger only grows: what uploads and live rows posted is reversed.
//!
//! It is asked for here, in the caller's transaction; a run does it ([`DeleteTransactions`]), in one
//! transaction of its own (`deleting`). Whether it may be asked for at all, and by whom, is the api's.

mod deleting;
mod jobs;

pub use jobs::DeleteTransactions;

use crate::{
    ids::DeletionId,
    runs::{EnqueueOptions, Enqueued, RunError, enqueue},
    schema::transaction_deletions,
};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Text, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Why nothing was deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    /// Uploads are at work, or are being undone.
    #[error("{0}")]
    InProgress(String),
    /// A run that no request stands for.
    #[error(
        "Nobody has asked for this deletion, so nothing was deleted: it is asked for, and confirmed, over the API."
    )]
    NotAskedFor,
    /// A run that comes too long after its request.
    #[error(
        "This deletion was asked for more than an hour ago, so nothing was deleted: ask for it anew if it is still \
         meant."
    )]
    TooLate,
    /// The run could not be enqueued, or closed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct Extent {
    /// Transactions that a deletion takes away.
    #[diesel(sql_type = BigInt)]
    pub leaving: i64,
    /// Transactions of settled trades, which stay.
    #[diesel(sql_type = BigInt)]
    pub staying: i64,
}

/// What a deletion would take away now. No row is read: the days' totals count every one, and each settled trade
/// has one.
pub async fn extent(conn: &mut AsyncPgConnection) -> QueryResult<Extent> {
    diesel::sql_query(
        "SELECT (SELECT coalesce(sum(count), 0)::bigint FROM day_totals) - t.count AS leaving, t.count AS staying
         FROM (SELECT count(*) FROM trades WHERE state IN ('settled', 'reversed')) AS t",
    )
    .get_result(conn)
    .await
}

#[derive(QueryableByName)]
struct BusyUpload {
    #[diesel(sql_type = Uuid)]
    id: uuid::Uuid,
    #[diesel(sql_type = Text)]
    filename: String,
    #[diesel(sql_type = BigInt)]
    all: i64,
}

/// Why nothing can be deleted now, for people: uploads of transactions that have not ended, or whose undo has not.
pub async fn refusal(conn: &mut AsyncPgConnection) -> QueryResult<Option<String>> {
    let busy: Vec<BusyUpload> = diesel::sql_query(
        "SELECT u.id, u.filename, count(*) OVER () AS all FROM uploads u
         LEFT JOIN runs undo ON undo.id = u.undo_run_id
         WHERE u.kind = 'transactions'
           AND (u.state IN ('received', 'planning', 'loading') OR u.state <> 'undone' AND undo.finished_at IS NULL
                                                                 AND undo.id IS NOT NULL)
         ORDER BY u.id LIMIT 3",
    )
    .load(conn)
    .await?;
    let [first, ..] = busy.as_slice() else { return Ok(None) };
    let more = first.all - busy.len() as i64;
    let mut names: Vec<String> =
        busy.iter().map(|upload| format!("{} ({})", upload.filename, upload.id)).collect();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    Ok(Some(format!(
        "Uploads of transactions are being loaded or undone: {}. Wait for their end, or cancel them.",
        names.join(", ")
    )))
}

/// Asks for the deletion in the caller's transaction: the run that stands for it. One that has not ended stands for
/// whoever asks meanwhile. Dying before the commit changes nothing; ring the doorbell after it.
pub async fn request_deletion(conn: &mut AsyncPgConnection, by: &str) -> Result<Enqueued, DeletionError> {
    if let Some(reason) = refusal(conn).await? {
        return Err(DeletionError::InProgress(reason));
    }
    let id = DeletionId::generate();
    let run = enqueue(conn, &DeleteTransactions { deletion_id: id }, &EnqueueOptions::by(by)).await?;
    if run.created {
        diesel::insert_into(transaction_deletions::table)
            .values((
                transaction_deletions::id.eq(id),
                transaction_deletions::run_id.eq(run.id),
                transaction_deletions::asked_by.eq(by),
            ))
            .execute(conn)
            .await?;
    }
    Ok(run)
}
