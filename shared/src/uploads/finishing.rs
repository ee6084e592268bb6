//! The end of an upload's flow: everything is counted, and what its buys and sells owe the accounts is
//! posted, all at once.

use super::{
    chunk,
    jobs::upload,
    model::{OnError, Upload, UploadCounts, UploadKind},
    queries, undo,
};
use crate::{
    cache::Topic,
    ids::UploadId,
    ledger,
    notifications::{Event, events::tell_copy, values::UploadFinished},
    runs::{Finished, JobError, Queue, RunContext, try_again},
    summaries::jobs::refresh_soon,
};
use tokio_postgres::{Client, Error};

/// The handler of `FinishUpload`.
pub(super) async fn finish(upload_id: UploadId, context: RunContext) -> Result<Finished, JobError> {
    let (upload, counts) = {
        let conn = &mut *context.connection().await?;
        let counts = queries::counts(conn, &[upload_id]).await.map_err(JobError::retry)?;
        (upload(conn, upload_id).await?, counts.get(&upload_id).copied().unwrap_or_default())
    };
    let options = upload.read_options().map_err(JobError::fail)?;
    let faults = counts.rejected + counts.conflicts;
    if options.on_error == OnError::Abort && !options.dry_run && faults > 0 {
        return Err(take_back(&context, &upload, faults).await);
    }
    if upload.undo_run_id.is_some() {
        return Ok(Finished::Result(serde_json::json!({ "undone": true })));
    }
    let changed = counts.inserted + counts.updated > 0 && !options.dry_run;
    if upload.kind == UploadKind::Transactions && changed {
        // Not a step of the flow, and harmless if this attempt fails: one refresh serves every upload
        // that finishes before it starts.
        let conn = &mut *context.connection().await?;
        refresh_soon(conn, context.env.clock.now(), &upload.created_by).await?;
    }
    let result = serde_json::to_value(counts).map_err(JobError::fail)?;
    // A file that is a step of a larger flow was generated, or fetched: nobody waits for it.
    let told = (context.flow_id == context.run_id && !options.dry_run).then(|| values(&upload, &counts));
    let told = told.map(serde_json::to_value).transpose().map_err(JobError::fail)?;
    let mut client = chunk::connect(&context).await?;
    let mut lost = 0;
    loop {
        let posting = post(&context, &mut client, upload_id, result.clone(), told.as_ref());
        let posting = chunk::unless_cancelled(&context, posting);
        // Positions move.
        match context
            .env
            .cache
            .change(&context.env.pool, &[Topic::All], |done| matches!(done, Ok(Ok(_))), posting)
            .await??
        {
            Ok(finished) => {
                context.env.load_connections.put_back(client);
                tracing::info!(
                    read = counts.read,
                    inserted = counts.inserted,
                    updated = counts.updated,
                    duplicates = counts.duplicates,
                    conflicts = counts.conflicts,
                    rejected = counts.rejected,
                    "the upload is finished"
                );
                return Ok(finished);
            }
            Err(error) => try_again(&mut lost, error)?,
        }
    }
}

/// What is told of an upload that is finished.
fn values(upload: &Upload, counts: &UploadCounts) -> UploadFinished {
    UploadFinished {
        upload_id: upload.id,
        filename: upload.filename.clone(),
        kind: upload.kind,
        read: counts.read.unsigned_abs(),
        inserted: counts.inserted.unsigned_abs(),
        updated: counts.updated.unsigned_abs(),
        duplicates: counts.duplicates.unsigned_abs(),
        conflicts: counts.conflicts.unsigned_abs(),
        rejected: counts.rejected.unsigned_abs(),
    }
}

/// Journal, positions, what is told and "done" in one transaction. Before it, in transactions of their own, the journals
/// of uploads that ended without one and whose rows this one found there.
async fn post(
    context: &RunContext,
    client: &mut Client,
    upload: UploadId,
    mut result: serde_json::Value,
    told: Option<&serde_json::Value>,
) -> Result<Finished, Error> {
    for open in ledger::left_open(client, upload).await? {
        let transaction = client.transaction().await?;
        let posted = ledger::post_upload(&transaction, open).await?;
        transaction.commit().await?;
        if let Some(posted) = posted {
            tracing::info!(upload.id = %open, accounts = posted.accounts, "what an ended upload owed is posted");
        }
    }
    let transaction = client.transaction().await?;
    transaction.execute("DELETE FROM upload_trial_keys WHERE upload_id = $1", &[&upload.0]).await?;
    let posted = ledger::post_upload(&transaction, upload).await?;
    if let Some(posted) = posted {
        result["posted"] = serde_json::to_value(posted).unwrap_or_default();
    }
    if let Some(told) = told {
        tell_copy(&transaction, Event::UploadFinished, &upload.to_string(), told).await?;
    }
    let closed = context.complete_copy(&transaction, &result).await?;
    transaction.commit().await?;
    Ok(closed.into())
}

/// Between check and load somebody else loaded what contradicts the file: what is there of it goes.
async fn take_back(context: &RunContext, upload: &Upload, faults: i64) -> JobError {
    let kept = match upload.kind {
        UploadKind::Transactions => None,
        UploadKind::Clients => Some("Clients"),
        UploadKind::Stocks => Some("Stocks"),
    };
    if let Some(kept) = kept {
        return JobError::fail(anyhow::anyhow!(
            "{faults} of the file's records met others while it was loaded, after its check had passed. {kept} are \
             never deleted: the others were loaded. The rejects say what is wrong."
        ));
    }
    let asked = async {
        let conn = &mut *context.connection().await?;
        undo::undo_failed(conn, upload.id, &upload.created_by).await.map_err(JobError::retry)
    };
    let fault = format!(
        "{faults} of the file's records met others while it was loaded, and it was to be loaded whole or not at all"
    );
    match asked.await {
        Err(error) => error,
        Ok(Some(reason)) => JobError::fail(anyhow::anyhow!(
            "{fault}. It could not be taken back: {reason} The rejects say what is wrong."
        )),
        Ok(None) => {
            context.env.doorbells.ring(Queue::Ingest, 1);
            JobError::fail(anyhow::anyhow!(
                "{fault}: what was loaded of it is being taken back. The rejects say what is wrong."
            ))
        }
    }
}
