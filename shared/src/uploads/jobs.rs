//! The flow of an upload: plan, then chunks in parallel, then finish. Each step's effects commit
//! with its "done"; whatever dies in between, the step runs again and finds either all or nothing.

use super::{
    chunk::{self, Purpose},
    finishing,
    formats::FormatError,
    model::{OnError, Upload, UploadOptions, UploadState},
    plan::{Plan, PlanError},
    planning::{PlannedFile, plan_file},
    queries, service, undoing,
};
use crate::{
    ids::{RunId, UploadId},
    runs::{
        EnqueueOptions, Finished, Job, JobError, Queue, Retry, RunContext, RunError, Unique,
        enqueue_children, enqueue_subflow,
    },
    schema::{upload_chunks, uploads},
};
use chrono::Datelike;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const RETRY: Retry =
    Retry::Exponential { max_attempts: 8, first: Duration::from_secs(1), cap: Duration::from_secs(120) };
const UNCLONABLE: Option<&str> = Some("it is a step of an upload; retry it, or upload the file again");
/// New months that a file may make without saying so: more are usually a wrong date column.
const MANY_MONTHS: usize = 36;

/// Finds out what the file is and cuts it into chunks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PlanUpload {
    /// The upload.
    pub upload_id: UploadId,
}

/// Loads one chunk.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct IngestChunk {
    /// The upload.
    pub upload_id: UploadId,
    /// The chunk's number, from 0.
    pub chunk: i32,
}

/// Does everything with one chunk but load it: for a dry run, and before an upload that is to be loaded
/// whole or not at all.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CheckChunk {
    /// The upload.
    pub upload_id: UploadId,
    /// The chunk's number, from 0.
    pub chunk: i32,
}

/// Begins to load when every chunk was checked and none has a fault.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct BeginLoading {
    /// The upload.
    pub upload_id: UploadId,
}

/// Takes the uploads back that name this run in their `undo_run_id`: one, or all of which none can go without
/// the others.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct UndoUpload {
    /// The upload; of several the oldest.
    pub upload_id: UploadId,
}

/// Ends the flow when every chunk is loaded; the flow's root.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FinishUpload {
    /// The upload.
    pub upload_id: UploadId,
}

/// The upload that a step belongs to.
pub(super) async fn upload(conn: &mut AsyncPgConnection, id: UploadId) -> Result<Upload, JobError> {
    queries::find_upload(conn, id)
        .await
        .map_err(JobError::retry)?
        .ok_or_else(|| JobError::fail(super::UploadError::NotFound(id)))
}

/// [`upload`] for a step that reads the file.
pub(super) async fn upload_with_file(conn: &mut AsyncPgConnection, id: UploadId) -> Result<Upload, JobError> {
    let upload = upload(conn, id).await?;
    match upload.files_removed_at {
        None => Ok(upload),
        Some(at) => Err(JobError::fail(anyhow::anyhow!(
            "The file of this upload was removed on {}, as files are kept for a while only \
             (MILLRACE_KEEP_FILES_DAYS). What it has loaded stays; hand the file in again to load the rest.",
            at.format("%Y-%m-%d")
        ))),
    }
}

impl Job for PlanUpload {
    const KIND: &'static str = "plan_upload";
    const QUEUE: Queue = Queue::Ingest;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&str> = UNCLONABLE;
    const TIMEOUT: Duration = Duration::from_secs(3600);

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let env = &context.env;
        let upload = upload(&mut *context.connection().await?, self.upload_id).await?;
        if upload.records.is_some() {
            return Ok(Finished::Result(serde_json::json!({ "planned": "before" })));
        }
        let upload = upload_with_file(&mut *context.connection().await?, upload.id).await?;
        diesel::update(uploads::table.find(upload.id))
            .set(uploads::state.eq(UploadState::Planning))
            .execute(&mut *context.connection().await?)
            .await
            .map_err(JobError::retry)?;
        let options = upload.read_options().map_err(JobError::fail)?;
        let planned = plan_file(&context, &upload, options.form).await.map_err(refusal)?;
        let plan = &planned.plan;
        make_months(&context, &upload, plan).await?;
        tracing::info!(records = plan.records, chunks = plan.chunks.len(), "the file is cut into chunks");
        let finished = commit_plan(&context, &upload, &planned).await?;
        env.doorbells.ring(Queue::Ingest, plan.chunks.len() as u64);
        Ok(finished)
    }
}

/// A file that cannot be read may be readable later; one that is no such file never is.
fn refusal(error: PlanError) -> JobError {
    match error {
        PlanError::Storage(_) | PlanError::Record(_) => JobError::retry(error),
        PlanError::Format(FormatError::Stopped) => JobError::Cancelled,
        _ => JobError::fail(error),
    }
}

/// Makes the partitions that the plan foresees, or asks for confirmation if they are many.
async fn make_months(context: &RunContext, upload: &Upload, plan: &Plan) -> Result<(), JobError> {
    let options = upload.read_options().map_err(JobError::fail)?;
    if options.dry_run {
        return Ok(());
    }
    let next_year = context.env.clock.now().year() + 1;
    let months: Vec<chrono::NaiveDate> = plan
        .months
        .iter()
        .filter(|&&month| month / 12 <= next_year)
        .filter_map(|&month| chrono::NaiveDate::from_ymd_opt(month / 12, month as u32 % 12 + 1, 1))
        .collect();
    let client = chunk::connect(context).await?;
    let known = client
        .query(
            "SELECT m FROM unnest($1::date[]) AS m
             WHERE to_regclass('transactions_' || to_char(m, 'YYYY_MM')) IS NOT NULL",
            &[&months],
        )
        .await
        .map_err(JobError::retry)?;
    let new = months.len() - known.len();
    if new > MANY_MONTHS && !options.allow_many_months {
        let (first, last) = (months[0].format("%Y-%m"), months[months.len() - 1].format("%Y-%m"));
        return Err(JobError::fail(anyhow::anyhow!(
            "The file's times fall into {new} months that hold no data yet ({first} to {last}). If that is right, \
             upload it again with allow_many_months; if not, check the column that holds the time."
        )));
    }
    crate::transactions::prerequisites::ensure_months(&client, &months).await.map_err(JobError::retry)?;
    context.env.load_connections.put_back(client);
    Ok(())
}

/// Writes the chunks and their runs and closes the planning, in one transaction.
async fn commit_plan(
    context: &RunContext,
    upload: &Upload,
    planned: &PlannedFile,
) -> Result<Finished, JobError> {
    let PlannedFile { plan, text_key, format, warnings } = planned;
    let format = serde_json::to_value(format).map_err(JobError::fail)?;
    let conn = &mut *context.connection().await?;
    let root = context.parent_id.unwrap_or(upload.run_id);
    let options = upload.read_options().map_err(JobError::fail)?;
    let mapping = plan.mapping.named(upload.kind);
    let closed = conn
        .transaction(async |conn| {
            context.hold(conn).await?;
            diesel::update(uploads::table.find(upload.id))
                .set((
                    uploads::state.eq(UploadState::Loading),
                    uploads::header.eq(&plan.header),
                    uploads::mapping.eq(&mapping),
                    uploads::ignored_columns.eq(&plan.ignored),
                    uploads::records.eq(plan.records),
                    uploads::format.eq(&format),
                    uploads::text_key.eq(text_key),
                    uploads::warnings.eq(warnings),
                ))
                .execute(conn)
                .await?;
            if let Some(linked) = service::link_corrected(conn, upload.id, &plan.header).await?
                && let Some(warning) = service::warn_of_other_settings(&options, &mapping, &linked)
            {
                let all: Vec<&String> = warnings.iter().chain([&warning]).collect();
                diesel::update(uploads::table.find(upload.id))
                    .set(uploads::warnings.eq(all))
                    .execute(conn)
                    .await?;
            }
            let chunks: Vec<_> = plan
                .chunks
                .iter()
                .zip(0i32..)
                .map(|(chunk, number)| {
                    (
                        upload_chunks::upload_id.eq(upload.id),
                        upload_chunks::chunk.eq(number),
                        upload_chunks::byte_start.eq(chunk.start.cast_signed()),
                        upload_chunks::byte_end.eq(chunk.end.cast_signed()),
                        upload_chunks::first_line.eq(chunk.first_line),
                        upload_chunks::records.eq(chunk.records),
                    )
                })
                .collect();
            for part in chunks.chunks(5_000) {
                diesel::insert_into(upload_chunks::table).values(part.to_vec()).execute(conn).await?;
            }
            enqueue_chunks(conn, upload, &options, root, chunks.len() as i32).await?;
            let result = serde_json::json!({ "records": plan.records, "chunks": plan.chunks.len() });
            context.complete(conn, &result).await
        })
        .await?;
    Ok(closed.into())
}

/// Adds the chunks' steps: their loading; for a dry run their check; for an upload that is to be loaded
/// whole or not at all their check, and behind it a step that adds their loading.
async fn enqueue_chunks(
    conn: &mut AsyncPgConnection,
    upload: &Upload,
    options: &UploadOptions,
    root: RunId,
    chunks: i32,
) -> Result<(), RunError> {
    let by = EnqueueOptions::by(&upload.created_by);
    let checks: Vec<_> = (0..chunks).map(|chunk| CheckChunk { upload_id: upload.id, chunk }).collect();
    match checks.split_first() {
        _ if options.dry_run => enqueue_children(conn, root, &checks, &by).await.map(drop),
        Some((first, rest)) if options.on_error == OnError::Abort => {
            let begin = RunId::generate();
            enqueue_subflow(conn, root, begin, &BeginLoading { upload_id: upload.id }, first, &by).await?;
            enqueue_children(conn, begin, rest, &by).await.map(drop)
        }
        _ => {
            let loads: Vec<_> =
                (0..chunks).map(|chunk| IngestChunk { upload_id: upload.id, chunk }).collect();
            enqueue_children(conn, root, &loads, &by).await.map(drop)
        }
    }
}

impl Job for CheckChunk {
    const KIND: &'static str = "check_chunk";
    const QUEUE: Queue = Queue::Ingest;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&str> = UNCLONABLE;
    const TIMEOUT: Duration = Duration::from_secs(600);

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        chunk::handle(self.upload_id, self.chunk, Purpose::Check, context).await
    }
}

impl Job for BeginLoading {
    const KIND: &'static str = "begin_loading";
    const QUEUE: Queue = Queue::Ingest;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&str> = UNCLONABLE;
    const TIMEOUT: Duration = Duration::from_secs(600);
    const PRIORITY: i16 = 50;

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let conn = &mut *context.connection().await?;
        let upload = upload(conn, self.upload_id).await?;
        if upload.state != UploadState::Loading {
            return Ok(Finished::Result(serde_json::json!({ "loaded": "before" })));
        }
        let (chunks, faults) = queries::faults(conn, upload.id).await.map_err(JobError::retry)?;
        if faults > 0 {
            return Err(JobError::fail(anyhow::anyhow!(
                "{faults} of the file's {} records cannot be loaded, and it was to be loaded whole or not at all: \
                 nothing was loaded. The rejects say what is wrong.",
                upload.records.unwrap_or_default()
            )));
        }
        let root = context.parent_id.unwrap_or(upload.run_id);
        let closed = conn
            .transaction(async |conn| {
                // Children are locked before parents.
                context.hold(conn).await?;
                let steps: Vec<_> =
                    (0..chunks).map(|chunk| IngestChunk { upload_id: upload.id, chunk }).collect();
                enqueue_children(conn, root, &steps, &EnqueueOptions::by(&upload.created_by)).await?;
                context.complete(conn, &serde_json::json!({ "chunks": chunks })).await
            })
            .await?;
        context.env.doorbells.ring(Queue::Ingest, u64::try_from(chunks).unwrap_or(0));
        Ok(closed.into())
    }
}

impl Job for IngestChunk {
    const KIND: &'static str = "ingest_chunk";
    const QUEUE: Queue = Queue::Ingest;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&str> = UNCLONABLE;
    const TIMEOUT: Duration = Duration::from_secs(600);

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        chunk::handle(self.upload_id, self.chunk, Purpose::Load, context).await
    }
}

impl Job for FinishUpload {
    const KIND: &'static str = "finish_upload";
    const QUEUE: Queue = Queue::Ingest;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&str> = UNCLONABLE;
    const TIMEOUT: Duration = Duration::from_secs(600);
    const PRIORITY: i16 = 50;

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        finishing::finish(self.upload_id, context).await
    }
}

impl Job for UndoUpload {
    const KIND: &'static str = "undo_upload";
    const QUEUE: Queue = Queue::Ingest;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&str> = Some("an upload is undone once; retry the run if it failed");
    const TIMEOUT: Duration = Duration::from_secs(6 * 3600);

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: self.upload_id.to_string(), states: Unique::UNLESS_FAILED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        undoing::undo(context).await
    }
}
