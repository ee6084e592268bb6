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
    NewUpload, UploadKind, UploadOptions,
    service::storage_key,
    steps::{creator, report, take_in},
};
use crate::{
    runs::{
        EnqueueOptions, Enqueued, Finished, Job, JobError, Queue, Retry, RunContext, RunError, Unique,
        enqueue_chain,
    },
    storage::{FileWriter, Source, SourceError, StoredFile},
};
use diesel_async::AsyncPgConnection;
use futures::future::BoxFuture;
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

impl Job for RunEtl {
    const KIND: &'static str = "run_etl";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&'static str> =
        Some("a recipe is started with its steps: `millrace run-etl`, or POST /api/v1/etl");
    const RECIPE: bool = true;
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn start<'a>(
        self,
        conn: &'a mut AsyncPgConnection,
        options: &'a EnqueueOptions,
    ) -> BoxFuture<'a, Result<Enqueued, RunError>> {
        Box::pin(start(conn, options))
    }

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

impl Job for EtlClients {
    const KIND: &'static str = "etl_clients";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&'static str> = A_STEP;
    const TIMEOUT: Duration = Duration::from_secs(3600);

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let location = context.env.etl.clients.clone();
        load(&context, &Place { kind: UploadKind::Clients, variable: "MILLRACE_ETL_CLIENTS", location }).await
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
        load(&context, &place).await
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
async fn load(context: &RunContext, place: &Place) -> Result<Finished, JobError> {
    let mut source = Source::open(&place.location).await.map_err(|error| place.refused(&error))?;
    let file = copy(context, place, &mut source).await?;
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
    let details = [("location".to_owned(), place.location.clone().into())].into_iter().collect();
    take_in(context, &new, details, LOOK_AGAIN).await
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
