//! The work of a deletion, one transaction that also closes its run: whatever dies, all of it is there or
//! nothing, and a run whose commit took effect is not run again.
//!
//! The registry is locked against everybody who writes it, before anything else. Whoever adds or moves rows
//! registers or holds their keys first, so those before have committed, and those after wait and then load into
//! the emptied tables. Readers see everything as it was until the commit.

use super::{DeletionError, refusal};
use crate::{
    cache::{Changing, Topic},
    feed,
    ids::DeletionId,
    ledger,
    runs::{CONTENTION_RETRIES, Closed, EnqueueOptions, Finished, JobError, Queue, RunContext, RunError},
    summaries::{
        jobs::ask_for_refresh,
        kept::{self, KEPT},
    },
};
use chrono_tz::Tz;
use diesel::{
    OptionalExtension, QueryResult, QueryableByName,
    sql_types::{BigInt, Bool, Uuid},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use serde::Serialize;

/// The uploads whose flows must stand still: nobody retries or undoes one before the commit, and whoever does
/// after it finds it undone.
const HOLD_UPLOADS: &str =
    "SELECT FROM uploads WHERE kind = 'transactions' AND state <> 'undone' ORDER BY id FOR NO KEY UPDATE";

/// What was done.
#[derive(Debug, Serialize, QueryableByName)]
struct Deleted {
    /// Rows that went.
    #[diesel(sql_type = BigInt)]
    transactions: i64,
    /// Rows that stayed: those of settled trades.
    #[diesel(sql_type = BigInt)]
    kept: i64,
    /// Uploads that are undone by it.
    #[diesel(sql_type = BigInt)]
    uploads: i64,
    /// Journals that were reversed.
    #[diesel(sql_type = BigInt)]
    journals: i64,
}

/// How an attempt ended.
enum Outcome<'c> {
    /// It was done before.
    Before,
    /// It is done, and what was kept of it in the cache is blocked.
    Done(Closed, Changing<'c>, Deleted),
}

/// The handler of `DeleteTransactions`.
pub(super) async fn delete(deletion: DeletionId, context: RunContext) -> Result<Finished, JobError> {
    let mut lost = 0;
    loop {
        let conn = &mut *context.connection().await?;
        // Dropped, the connection is closed, and PostgreSQL ends the statement.
        let attempt = tokio::select! {
            biased;
            () = context.cancel.cancelled() => return Err(JobError::Cancelled),
            attempt = in_transaction(conn, &context, deletion) => attempt,
        };
        match attempt {
            Ok(Outcome::Before) => return Ok(Finished::Result(serde_json::json!({ "deleted": "before" }))),
            Ok(Outcome::Done(closed, changing, deleted)) => {
                changing.done().await;
                context.env.doorbells.ring(Queue::Default, 1);
                tracing::warn!(
                    transactions = deleted.transactions,
                    kept = deleted.kept,
                    uploads = deleted.uploads,
                    journals = deleted.journals,
                    "all transactions are deleted, but those of settled trades"
                );
                return Ok(closed.into());
            }
            Err(error) if lost < CONTENTION_RETRIES && was_in_the_way(&error) => {
                lost += 1;
                tracing::info!(%error, lost, "another transaction was in the way of the deletion; trying again");
            }
            Err(DeletionError::Run(error)) => return Err(error.into()),
            Err(DeletionError::Database(error)) => return Err(error.into()),
            Err(refused) => return Err(JobError::fail(refused)),
        }
    }
}

/// A deadlock or a lock timeout; diesel keeps the message only.
fn was_in_the_way(error: &DeletionError) -> bool {
    let (DeletionError::Database(error) | DeletionError::Run(RunError::Database(error))) = error else {
        return false;
    };
    let diesel::result::Error::DatabaseError(_, said) = error else { return false };
    ["deadlock detected", "due to lock timeout"].iter().any(|text| said.message().contains(text))
}

/// Lock order: keys, uploads, clients, summaries, the feed, the refresh, the run.
async fn in_transaction<'c>(
    conn: &mut AsyncPgConnection,
    context: &'c RunContext,
    deletion: DeletionId,
) -> Result<Outcome<'c>, DeletionError> {
    let env = &context.env;
    conn.transaction(async move |conn| {
        if is_done(conn, deletion).await? {
            return Ok(Outcome::Before);
        }
        conn.batch_execute(include_str!("lock.sql")).await?;
        diesel::sql_query(HOLD_UPLOADS).execute(conn).await?;
        if let Some(reason) = refusal(conn).await? {
            return Err(DeletionError::InProgress(format!("Nothing was deleted. {reason}")));
        }
        conn.batch_execute(include_str!("remove.sql")).await?;
        ledger::reverse_all_but_trades(conn).await?;
        count_totals(conn, env.settings.zone).await?;
        diesel::sql_query(include_str!("undo_uploads.sql"))
            .bind::<Uuid, _>(context.run_id.0)
            .execute(conn)
            .await?;
        feed::outbox::begin_anew(conn).await?;
        let deleted = note_done(conn, deletion, context).await?;
        ask_for_refresh(conn, &EnqueueOptions::by("delete")).await?;
        let result = serde_json::to_value(&deleted).map_err(RunError::from)?;
        let closed = context.complete(conn, &result).await?;
        let changing = env.cache.changing(&env.pool, &[Topic::All]).await?;
        Ok(Outcome::Done(closed, changing, deleted))
    })
    .await
}

#[derive(QueryableByName)]
struct Request {
    #[diesel(sql_type = Bool)]
    done: bool,
    #[diesel(sql_type = Bool)]
    late: bool,
}

/// Whether it was done before; an error if nobody asked for it, or too long ago.
async fn is_done(conn: &mut AsyncPgConnection, deletion: DeletionId) -> Result<bool, DeletionError> {
    let request: Option<Request> = diesel::sql_query(
        "SELECT done_at IS NOT NULL AS done, asked_at < now() - interval '1 hour' AS late
         FROM transaction_deletions WHERE id = $1 FOR UPDATE",
    )
    .bind::<Uuid, _>(deletion.0)
    .get_result(conn)
    .await
    .optional()?;
    match request {
        None => Err(DeletionError::NotAskedFor),
        Some(request) if request.done => Ok(true),
        Some(request) if request.late => Err(DeletionError::TooLate),
        Some(_) => Ok(false),
    }
}

/// Makes every kept total that of the rows that are left. The tables are locked against who changes totals without
/// touching keys, such as a rebuild.
async fn count_totals(conn: &mut AsyncPgConnection, zone: Tz) -> QueryResult<()> {
    for kept in KEPT {
        let counted = kept.totals("transactions AS t", "true");
        let statements = format!(
            "LOCK TABLE {0} IN EXCLUSIVE MODE; DELETE FROM {0}; {1}",
            kept.table,
            kept.add_sorted(&counted)
        );
        conn.batch_execute(&kept::in_zone(&statements, zone)).await?;
    }
    Ok(())
}

/// Marks the request as done; what was done for it.
async fn note_done(
    conn: &mut AsyncPgConnection,
    deletion: DeletionId,
    context: &RunContext,
) -> QueryResult<Deleted> {
    diesel::sql_query("UPDATE transaction_deletions SET done_at = now() WHERE id = $1")
        .bind::<Uuid, _>(deletion.0)
        .execute(conn)
        .await?;
    diesel::sql_query(
        "SELECT (SELECT coalesce(sum(rows), 0)::bigint FROM gone) AS transactions,
                (SELECT coalesce(sum(count), 0)::bigint FROM day_totals) AS kept,
                (SELECT count(*) FROM uploads WHERE undo_run_id = $1) AS uploads,
                (SELECT count(*) FROM reversals) AS journals",
    )
    .bind::<Uuid, _>(context.run_id.0)
    .get_result(conn)
    .await
}
