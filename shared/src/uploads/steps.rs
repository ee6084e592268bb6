//! Steps of larger flows that take a file in: of the recipe, and of what is generated.
//!
//! A step stores its file, and takes it in in the transaction that closes the step: the upload's own flow
//! is added below what waits for the step. Bytes that were loaded before are not loaded again.

use super::{
    Accepted, NewUpload, UploadState,
    queries::{self, find_upload},
    service::accept_step,
};
use crate::{
    ids::{RunId, UploadId},
    runs::{Finished, JobError, Queue, RunContext},
    schema::runs,
};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a step took in; its result.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct TakenIn {
    upload_id: UploadId,
    /// The same file had been loaded before.
    already_uploaded: bool,
    /// What else the step has to tell.
    #[serde(flatten)]
    details: serde_json::Map<String, serde_json::Value>,
}

/// Who started the flow.
pub(crate) async fn creator(context: &RunContext) -> Result<String, JobError> {
    let conn = &mut *context.connection().await?;
    let run = runs::table.find(context.run_id).select(runs::created_by).first(conn).await;
    run.map_err(JobError::retry)
}

/// Takes a stored file in and closes the step, or lets go of the file. While somebody else's upload of the same
/// file goes on, the step looks again after `look_again`.
pub(crate) async fn take_in(
    context: &RunContext,
    new: &NewUpload,
    details: serde_json::Map<String, serde_json::Value>,
    look_again: Duration,
) -> Result<Finished, JobError> {
    // If the process dies before this commit, the file is an orphan that `prune_files` removes; after it,
    // the step is done and the upload waits for a worker.
    let ended = accept(context, new, details, look_again).await;
    if !matches!(ended, Ok((_, true))) {
        // Nobody will read the copy. One that stays is an orphan, too.
        let _ = context.env.storage.delete(&new.file.key).await;
    }
    let (finished, created) = ended?;
    if created {
        context.env.doorbells.ring(Queue::Ingest, 1);
    }
    context.env.doorbells.ring(Queue::Default, 1);
    Ok(finished)
}

/// Whether an upload was made, too.
async fn accept(
    context: &RunContext,
    new: &NewUpload,
    details: serde_json::Map<String, serde_json::Value>,
    look_again: Duration,
) -> Result<(Finished, bool), JobError> {
    let conn = &mut *context.connection().await?;
    conn.transaction(async |conn| {
        // Children are locked before parents.
        context.hold(conn).await.map_err(JobError::from)?;
        // A copy of a step stands in no flow; all it can do is find its file loaded.
        let accepted = accept_step(conn, new, context.parent_id).await;
        let Accepted { upload, created } = accepted.map_err(JobError::retry)?;
        if !created && upload.state != UploadState::Finished {
            tracing::info!(upload.id = %upload.id, "another upload of the same file goes on; waiting for it");
            return Ok((Finished::Snooze(look_again), false));
        }
        let taken = TakenIn { upload_id: upload.id, already_uploaded: !created, details };
        let result = serde_json::to_value(taken).map_err(JobError::fail)?;
        let closed = context.complete(conn, &result).await.map_err(JobError::from)?;
        Ok((Finished::from(closed), created))
    })
    .await
}

/// The result of the first step of a kind in a flow.
pub(crate) async fn result_of(
    conn: &mut AsyncPgConnection,
    flow: RunId,
    step: &str,
) -> Result<serde_json::Value, JobError> {
    let result: Option<Option<serde_json::Value>> = runs::table
        .filter(runs::flow_id.eq(flow).and(runs::flow_id.ne(runs::id)).and(runs::kind.eq(step)))
        .filter(runs::result.is_not_null())
        .order(runs::id)
        .select(runs::result)
        .first(conn)
        .await
        .optional()
        .map_err(JobError::retry)?;
    let missing = || JobError::fail(anyhow::anyhow!("the step {step} has left no result"));
    result.flatten().ok_or_else(missing)
}

/// The upload of a step, with what became of its records.
pub(crate) async fn report(
    conn: &mut AsyncPgConnection,
    flow: RunId,
    step: &str,
) -> Result<serde_json::Value, JobError> {
    let taken: TakenIn =
        serde_json::from_value(result_of(conn, flow, step).await?).map_err(JobError::fail)?;
    let id = taken.upload_id;
    let upload = find_upload(conn, id).await.map_err(JobError::retry)?;
    let counts = queries::counts(conn, &[id]).await.map_err(JobError::retry)?.remove(&id);
    let mut report = serde_json::json!({
        "upload_id": id,
        "filename": upload.map(|upload| upload.filename),
        "already_uploaded": taken.already_uploaded,
        "counts": counts.unwrap_or_default(),
    });
    for (name, value) in taken.details {
        report[name] = value;
    }
    Ok(report)
}
