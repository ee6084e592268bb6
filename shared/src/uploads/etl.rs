//! The recipe `run_etl`: a file of clients, then a file of transactions, from configured places, as one
//! flow.
//!
//! ```text
//! run_etl ◄─ etl_transactions ◄─ etl_clients
//!         ◄─ finish_upload     ◄─ finish_upload ◄─ plan_upload, ingest_chunk …   (the clients)
//!            (the transactions)
//! ```
//! A step copies its file to storage and takes it in, in the transaction that closes the step: the
//! upload's own flow is added below what waits for it, so that the transactions begin when the clients
//! are loaded, and the recipe ends when both are. Bytes that were loaded before are not loaded again.

use super::{
    Accepted, NewUpload, UploadKind, UploadOptions, UploadState,
    queries::{self, find_upload},
    service::{accept_step, storage_key},
};
use crate::{
    ids::{RunId, UploadId},
    runs::{
        EnqueueOptions, Enqueued, Finished, Job, JobError, Queue, Retry, RunContext, RunError, Unique,
        enqueue_chain,
    },
    schema::runs,
    storage::{FileWriter, Source, SourceError, StoredFile},
};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const RETRY: Retry =
    Retry::Exponential { max_attempts: 5, first: Duration::from_secs(2), cap: Duration::from_secs(60) };
const A_STEP: Option<&str> = Some("it is a step of the recipe; start that anew with `millrace run-etl`");
/// While somebody else's upload of the same file goes on, the step looks again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Bytes between two notes of progress.
const NOTE_BYTES: u64 = 16 << 20;

/// Reports what the recipe has loaded; the root of its flow.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RunEtl {}

/// Takes the file of clients in.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EtlClients {}

/// Takes the file of transactions in, once the clients are loaded.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct EtlTransactions {}

/// Starts the recipe in the caller's transaction. While one runs, that one is the answer. Ring the
/// `default` doorbell afterwards.
pub async fn start(conn: &mut AsyncPgConnection, options: &EnqueueOptions) -> Result<Enqueued, RunError> {
    enqueue_chain(conn, &RunEtl {}, &EtlTransactions {}, &EtlClients {}, options).await
}

/// What a step took in; its result.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct TakenIn {
    upload_id: UploadId,
    /// The same file had been loaded before.
    already_uploaded: bool,
    location: String,
}

impl Job for RunEtl {
    const KIND: &'static str = "run_etl";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&'static str> =
        Some("a recipe is started with its steps: `millrace run-etl`, or POST /api/v1/etl");
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: String::new(), states: Unique::UNTIL_FINISHED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let conn = &mut *context.connection().await?;
        let clients = report(conn, context.flow_id, EtlClients::KIND).await?;
        let transactions = report(conn, context.flow_id, EtlTransactions::KIND).await?;
        Ok(Finished::Result(serde_json::json!({ "clients": clients, "transactions": transactions })))
    }
}

/// The upload of a step, with what became of its records.
async fn report(
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
    let taken: TakenIn =
        serde_json::from_value(result.flatten().ok_or_else(missing)?).map_err(JobError::fail)?;
    let id = taken.upload_id;
    let upload = find_upload(conn, id).await.map_err(JobError::retry)?;
    let counts = queries::counts(conn, &[id]).await.map_err(JobError::retry)?.remove(&id);
    Ok(serde_json::json!({
        "upload_id": id,
        "filename": upload.map(|upload| upload.filename),
        "location": taken.location,
        "already_uploaded": taken.already_uploaded,
        "counts": counts.unwrap_or_default(),
    }))
}

impl Job for EtlClients {
    const KIND: &'static str = "etl_clients";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&'static str> = A_STEP;
    const TIMEOUT: Duration = Duration::from_secs(3600);

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let location = context.env.etl.clients.clone();
        take_in(&context, &Place { kind: UploadKind::Clients, variable: "MILLRACE_ETL_CLIENTS", location })
            .await
    }
}

impl Job for EtlTransactions {
    const KIND: &'static str = "etl_transactions";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&'static str> = A_STEP;
    const TIMEOUT: Duration = Duration::from_secs(3600);

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let location = context.env.etl.transactions.clone();
        let place = Place { kind: UploadKind::Transactions, variable: "MILLRACE_ETL_TRANSACTIONS", location };
        take_in(&context, &place).await
    }
}

/// Where a step's file is.
struct Place {
    kind: UploadKind,
    /// What names it.
    variable: &'static str,
    location: String,
}

impl Place {
    /// Why the file cannot be read, and what to set.
    fn refused(&self, error: &SourceError) -> JobError {
        let message = anyhow::anyhow!(
            "The file of {} cannot be read: {error}. Put it there for the workers to read, or set {} to its path \
             or URL (s3://bucket/key) and restart them; then retry.",
            self.kind,
            self.variable
        );
        if error.is_permanent() { JobError::Fail(message) } else { JobError::Retry(message) }
    }
}

/// Copies the file to storage and takes it in.
async fn take_in(context: &RunContext, place: &Place) -> Result<Finished, JobError> {
    // A copy of a step stands in no flow; all it can do is find its file loaded.
    let waiting = context.parent_id;
    let mut source = Source::open(&place.location).await.map_err(|error| place.refused(&error))?;
    let file = copy(context, place, &mut source).await?;
    let key = file.key.clone();
    let new = NewUpload {
        kind: place.kind,
        filename: source.filename.clone(),
        file,
        options: UploadOptions::default(),
        forced: false,
        created_by: creator(context).await?,
        corrects: None,
        idempotency_key: None,
    };
    // If the process dies before this commit, the copy is an orphan that `prune_files` removes; after it,
    // the step is done and the upload waits for a worker.
    let ended = accept(context, place, &new, waiting).await;
    if !matches!(ended, Ok((_, true))) {
        // Nobody will read the copy. One that stays is an orphan, too.
        let _ = context.env.storage.delete(&key).await;
    }
    let (finished, created) = ended?;
    if created {
        context.env.doorbells.ring(Queue::Ingest, 1);
    }
    context.env.doorbells.ring(Queue::Default, 1);
    Ok(finished)
}

async fn copy(context: &RunContext, place: &Place, source: &mut Source) -> Result<StoredFile, JobError> {
    let total = i64::try_from(source.size_bytes).ok();
    let phase = format!("copying {}", source.filename);
    let mut writer: FileWriter = context.env.storage.create(&storage_key()).await.map_err(JobError::retry)?;
    let mut noted = 0;
    while let Some(bytes) = source.read(&place.location).await.map_err(|error| place.refused(&error))? {
        if context.cancel.is_cancelled() {
            writer.abort().await;
            return Err(JobError::Cancelled);
        }
        writer.write(&bytes).await.map_err(JobError::retry)?;
        if writer.size_bytes() - noted >= NOTE_BYTES {
            noted = writer.size_bytes();
            context.progress(noted as i64, total, "bytes", &phase).await;
        }
    }
    writer.finish().await.map_err(JobError::retry)
}

/// Who started the recipe.
async fn creator(context: &RunContext) -> Result<String, JobError> {
    let conn = &mut *context.connection().await?;
    let run = runs::table.find(context.run_id).select(runs::created_by).first(conn).await;
    run.map_err(JobError::retry)
}

/// Takes the stored file in and closes the step, in one transaction; whether an upload was made.
async fn accept(
    context: &RunContext,
    place: &Place,
    new: &NewUpload,
    waiting: Option<RunId>,
) -> Result<(Finished, bool), JobError> {
    let conn = &mut *context.connection().await?;
    conn.transaction(async |conn| {
        // Children are locked before parents.
        context.hold(conn).await.map_err(JobError::from)?;
        let Accepted { upload, created } = accept_step(conn, new, waiting).await.map_err(JobError::retry)?;
        if !created && upload.state != UploadState::Finished {
            tracing::info!(upload.id = %upload.id, "another upload of the same file goes on; waiting for it");
            return Ok((Finished::Snooze(LOOK_AGAIN), false));
        }
        let taken =
            TakenIn { upload_id: upload.id, already_uploaded: !created, location: place.location.clone() };
        let result = serde_json::to_value(taken).map_err(JobError::fail)?;
        let closed = context.complete(conn, &result).await.map_err(JobError::from)?;
        Ok((Finished::from(closed), created))
    })
    .await
}
