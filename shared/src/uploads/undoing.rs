//! The work of an undo, in transactions small enough that loads go on beside it; each leaves every
//! summary exact, and whatever dies in between, the run goes on from there.

use super::{chunk, queries};
use crate::{
    cache::Topic,
    ids::UploadId,
    ledger,
    runs::{Finished, JobError, RunContext, try_again},
    summaries::jobs::refresh_soon,
    transactions::take_back::{self, Piece},
};
use tokio_postgres::{Client, Error, Transaction};

/// Statuses restored in one transaction.
const STATUSES: i64 = 20_000;

/// A step of an undo, a transaction each.
#[derive(Clone, Copy)]
enum Step<'a> {
    Rows(&'a [Piece]),
    Statuses,
    Finish,
}

/// The handler of `UndoUpload`: takes back the uploads that name this run, one after the other, so that none
/// moves rows of another while that is walked through.
pub(super) async fn undo(context: RunContext) -> Result<Finished, JobError> {
    let uploads = {
        let conn = &mut *context.connection().await?;
        queries::undone_by(conn, context.run_id).await.map_err(JobError::retry)?
    };
    let mut client = chunk::connect(&context).await?;
    for (at, upload) in uploads.iter().enumerate() {
        let name = match uploads.len() {
            1 => String::new(),
            all => format!("{} of {all}, {}: ", at + 1, upload.filename),
        };
        take_back_upload(&context, &mut client, upload.id, &name).await?;
        step(&context, &mut client, upload.id, Step::Finish).await?;
    }
    {
        let conn = &mut *context.connection().await?;
        refresh_soon(conn, context.env.clock.now(), "undo").await?;
    }
    let mut lost = 0;
    loop {
        match chunk::unless_cancelled(&context, close(&context, &mut client)).await? {
            Ok(finished) => {
                context.env.load_connections.put_back(client);
                return Ok(finished);
            }
            Err(error) => try_again(&mut lost, error)?,
        }
    }
}

/// Its rows, a part after the other, and the statuses that it moved.
async fn take_back_upload(
    context: &RunContext,
    client: &mut Client,
    upload_id: UploadId,
    name: &str,
) -> Result<(), JobError> {
    let bounds = {
        let conn = &mut *context.connection().await?;
        queries::bounds(conn, upload_id).await.map_err(JobError::retry)?
    };
    let groups = match bounds {
        Some((first, last)) => {
            let (first, last) = (first.date_naive(), last.date_naive());
            let groups = take_back::pieces(client, first, last, context.env.chunk_records)
                .await
                .map_err(JobError::retry)?;
            take_back::analyse(client, &groups).await.map_err(JobError::retry)?;
            groups
        }
        None => Vec::new(),
    };
    let total = groups.len() as i64;
    for (done, group) in groups.iter().enumerate() {
        context.progress(done as i64, Some(total), "parts", &format!("{name}taking rows back")).await;
        step(context, client, upload_id, Step::Rows(group)).await?;
    }
    context.progress(total, Some(total), "parts", &format!("{name}restoring statuses")).await;
    while step(context, client, upload_id, Step::Statuses).await? == STATUSES {}
    Ok(())
}

/// Does one step, again if another transaction was in its way, not at all once the run is to stop; what it took
/// back.
async fn step(
    context: &RunContext,
    client: &mut Client,
    upload: UploadId,
    step: Step<'_>,
) -> Result<i64, JobError> {
    let mut lost = 0;
    loop {
        let topics: &[Topic] = if matches!(step, Step::Finish) { &[Topic::All] } else { &[] };
        let taking = chunk::unless_cancelled(context, take(context, client, upload, step));
        match context
            .env
            .cache
            .change(&context.env.pool, topics, |done| matches!(done, Ok(Ok(_))), taking)
            .await??
        {
            Ok(taken) => return Ok(taken),
            Err(error) => try_again(&mut lost, error)?,
        }
    }
}

/// One transaction.
async fn take(
    context: &RunContext,
    client: &mut Client,
    upload: UploadId,
    step: Step<'_>,
) -> Result<i64, Error> {
    let zone = context.env.settings.zone;
    let transaction = client.transaction().await?;
    let taken = match step {
        Step::Rows(group) => {
            let taken = take_back::remove_rows(&transaction, upload.0, group, zone).await?;
            report(&transaction, upload, "transactions", taken).await?
        }
        Step::Statuses => {
            let taken = take_back::restore_statuses(&transaction, upload.0, STATUSES, zone).await?;
            report(&transaction, upload, "statuses", taken).await?
        }
        Step::Finish => finish(&transaction, upload).await?,
    };
    transaction.commit().await?;
    Ok(taken)
}

/// Adds to the upload's report what was taken back, and returns it.
async fn report(
    transaction: &Transaction<'_>,
    upload: UploadId,
    name: &str,
    taken: i64,
) -> Result<i64, Error> {
    transaction
        .execute(
            "UPDATE uploads SET undo_report = jsonb_build_object('transactions', 0, 'statuses', 0)
                 || coalesce(undo_report, '{}')
                 || jsonb_build_object($2::text, coalesce((undo_report->>$2)::bigint, 0) + $3)
             WHERE id = $1",
            &[&upload.0, &name, &taken],
        )
        .await?;
    Ok(taken)
}

/// What is left of the upload's notes goes, its journals are reversed, and it is undone; the accounts that
/// moved. Notes first: whoever was just posting them has then committed, and the journal of that is seen.
async fn finish(transaction: &Transaction<'_>, upload: UploadId) -> Result<i64, Error> {
    for statement in [
        "DELETE FROM upload_postings WHERE upload_id = $1",
        "DELETE FROM upload_trial_keys WHERE upload_id = $1",
        "DELETE FROM upload_overlaps WHERE later = $1",
    ] {
        transaction.execute(statement, &[&upload.0]).await?;
    }
    let posted = ledger::reverse_upload(transaction, upload).await?;
    let reversed = serde_json::to_value(posted).unwrap_or_default();
    let report: serde_json::Value = transaction
        .query_one(
            "UPDATE uploads SET state = 'undone',
                 undo_report = coalesce(undo_report, '{}') || jsonb_build_object('reversed', $2::jsonb)
             WHERE id = $1 RETURNING undo_report",
            &[&upload.0, &reversed],
        )
        .await?
        .get(0);
    tracing::info!(upload.id = %upload, %report, "the upload is taken back");
    Ok(posted.map_or(0, |posted| posted.accounts))
}

/// "Done", with the sums over what the run took back, earlier attempts included.
async fn close(context: &RunContext, client: &mut Client) -> Result<Finished, Error> {
    let transaction = client.transaction().await?;
    let result: serde_json::Value = transaction
        .query_one(
            "SELECT jsonb_build_object('uploads', count(*),
                 'transactions', coalesce(sum((undo_report->>'transactions')::bigint), 0),
                 'statuses', coalesce(sum((undo_report->>'statuses')::bigint), 0))
             FROM uploads WHERE undo_run_id = $1",
            &[&context.run_id.0],
        )
        .await?
        .get(0);
    let closed = context.complete_copy(&transaction, &result).await?;
    transaction.commit().await?;
    Ok(closed.into())
}
