//! The work of an undo, in transactions small enough that loads go on beside it; each leaves every
//! summary exact, and whatever dies in between, the run goes on from there.

use super::{chunk, jobs::upload, model::UploadState, queries};
use crate::{
    ids::UploadId,
    ledger,
    runs::{Finished, JobError, RunContext, try_again},
    summaries::jobs::refresh_soon,
    transactions::take_back::{self, Piece},
};
use tokio_postgres::{Client, Error};

/// Statuses restored in one transaction.
const STATUSES: i64 = 20_000;

/// A step of an undo, a transaction each.
#[derive(Clone, Copy)]
enum Step<'a> {
    Rows(&'a [Piece]),
    Statuses,
}

/// The handler of `UndoUpload`.
pub(super) async fn undo(upload_id: UploadId, context: RunContext) -> Result<Finished, JobError> {
    let bounds = {
        let conn = &mut *context.connection().await?;
        if upload(conn, upload_id).await?.state == UploadState::Undone {
            return Ok(Finished::Result(serde_json::json!({ "undone": "before" })));
        }
        queries::bounds(conn, upload_id).await.map_err(JobError::retry)?
    };
    let mut client = chunk::connect(&context).await?;
    let groups = match bounds {
        Some((first, last)) => {
            let (first, last) = (first.date_naive(), last.date_naive());
            let groups = take_back::pieces(&client, first, last, context.env.chunk_records)
                .await
                .map_err(JobError::retry)?;
            take_back::analyse(&client, &groups).await.map_err(JobError::retry)?;
            groups
        }
        None => Vec::new(),
    };
    let total = groups.len() as i64;
    for (done, group) in groups.iter().enumerate() {
        context.progress(done as i64, Some(total), "parts", "taking rows back").await;
        step(&context, &mut client, upload_id, Step::Rows(group)).await?;
    }
    context.progress(total, Some(total), "parts", "restoring statuses").await;
    while step(&context, &mut client, upload_id, Step::Statuses).await? == STATUSES {}
    {
        let conn = &mut *context.connection().await?;
        refresh_soon(conn, context.env.clock.now(), "undo").await?;
    }
    let mut lost = 0;
    loop {
        match finish(&context, &mut client, upload_id).await {
            Ok(finished) => {
                context.env.load_connections.put_back(client);
                return Ok(finished);
            }
            Err(error) => try_again(&mut lost, error)?,
        }
    }
}

/// Does one step; what it took back.
async fn step(
    context: &RunContext,
    client: &mut Client,
    upload: UploadId,
    step: Step<'_>,
) -> Result<i64, JobError> {
    let mut lost = 0;
    loop {
        if context.cancel.is_cancelled() {
            return Err(JobError::Cancelled);
        }
        match take(context, client, upload, step).await {
            Ok(taken) => return Ok(taken),
            Err(error) => try_again(&mut lost, error)?,
        }
    }
}

/// One transaction: what it takes back is added to the report.
async fn take(
    context: &RunContext,
    client: &mut Client,
    upload: UploadId,
    step: Step<'_>,
) -> Result<i64, Error> {
    let zone = context.env.settings.zone;
    let transaction = client.transaction().await?;
    let (taken, name) = match step {
        Step::Rows(group) => {
            (take_back::remove_rows(&transaction, upload.0, group, zone).await?, "transactions")
        }
        Step::Statuses => {
            (take_back::restore_statuses(&transaction, upload.0, STATUSES, zone).await?, "statuses")
        }
    };
    transaction
        .execute(
            "UPDATE uploads SET undo_report = jsonb_build_object('transactions', 0, 'statuses', 0)
                 || coalesce(undo_report, '{}')
                 || jsonb_build_object($2::text, coalesce((undo_report->>$2)::bigint, 0) + $3)
             WHERE id = $1",
            &[&upload.0, &name, &taken],
        )
        .await?;
    transaction.commit().await?;
    Ok(taken)
}

/// The journal's reverse, what is left of the upload's notes, and "done".
async fn finish(context: &RunContext, client: &mut Client, upload: UploadId) -> Result<Finished, Error> {
    let transaction = client.transaction().await?;
    let reversed = ledger::reverse_upload(&transaction, upload).await?;
    for statement in [
        "DELETE FROM upload_postings WHERE upload_id = $1",
        "DELETE FROM upload_trial_keys WHERE upload_id = $1",
        "DELETE FROM upload_overlaps WHERE later = $1",
    ] {
        transaction.execute(statement, &[&upload.0]).await?;
    }
    let reversed = serde_json::to_value(reversed).unwrap_or_default();
    let report: serde_json::Value = transaction
        .query_one(
            "UPDATE uploads SET state = 'undone',
                 undo_report = coalesce(undo_report, '{}') || jsonb_build_object('reversed', $2::jsonb)
             WHERE id = $1 RETURNING undo_report",
            &[&upload.0, &reversed],
        )
        .await?
        .get(0);
    let closed = context.complete_copy(&transaction, &report).await?;
    transaction.commit().await?;
    tracing::info!(%report, "the upload is undone");
    Ok(closed.into())
}
