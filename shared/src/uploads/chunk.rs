//! One chunk: its bytes are read and parsed, what must be there before is made, and then one database
//! transaction does the rest (`commit`).

use super::{
    columns::{self, Mapping},
    commit::Work,
    formats::plain_text,
    jobs::upload_with_file,
    model::{Chunk, Upload, UploadKind},
    plan::DELIMITER,
    queries,
    reading::{BadRecord, RecordForm},
    records::{MAX_RECORD_BYTES, Span},
    waiting,
};
use crate::{
    clients::parse::ClientBatch,
    db::LoadConnection,
    ids::UploadId,
    runs::{Finished, JobError, RunContext, try_again},
    stocks::parse::StockBatch,
    transactions::{
        load::LoadError,
        parse::{Batch, Reading, end_of_next_year},
        prepared::Prepared,
        prerequisites,
    },
};
use std::time::Duration;

/// Wait for an undo that is in the way.
const UNDO_WAIT: Duration = Duration::from_secs(2);
/// What is kept of a record that is too long to be read.
const OVERSIZED_KEPT: u64 = 64 << 10;

/// A chunk's parsed rows.
pub(super) enum Rows {
    Transactions(Prepared),
    Clients(ClientBatch),
    Stocks(StockBatch),
}

/// A connection for loading.
pub(super) async fn connect(context: &RunContext) -> Result<LoadConnection, JobError> {
    context.env.load_connections.take(prerequisites::SESSION).await.map_err(JobError::retry)
}

/// What is done with a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is loaded.
    Load,
    /// Everything but that.
    Check,
}

/// The handler of `IngestChunk` and `CheckChunk`.
pub(super) async fn handle(
    upload_id: UploadId,
    chunk: i32,
    purpose: Purpose,
    context: RunContext,
) -> Result<Finished, JobError> {
    let (upload, chunk) = {
        let conn = &mut *context.connection().await?;
        let chunk = queries::find_chunk(conn, upload_id, chunk).await.map_err(JobError::retry)?;
        (upload_with_file(conn, upload_id).await?, chunk)
    };
    if chunk.loaded_at.is_some() || (purpose == Purpose::Check && chunk.faults.is_some()) {
        // Its rows would now all be duplicates, and its counts would say so.
        return Ok(Finished::Result(serde_json::json!({ "done": "before" })));
    }
    if upload.undo_run_id.is_some() {
        return Err(JobError::fail(anyhow::anyhow!(
            "The upload is being taken back, or was; upload the file again."
        )));
    }
    let options = upload.read_options().map_err(JobError::fail)?;
    let (rows, rejects) = read(&context, &upload, &chunk).await?;
    let mut client = connect(&context).await?;
    let mut work =
        Work { context: &context, upload: &upload, options, chunk: &chunk, purpose, rows, rejects };
    work.prepare(&client).await?;
    let mut lost = 0;
    loop {
        let topics = work.topics();
        let committing = unless_cancelled(&context, work.commit(&mut client));
        match context
            .env
            .cache
            .change(&context.env.pool, topics, |done| matches!(done, Ok(Ok(_))), committing)
            .await??
        {
            Ok(finished) => {
                context.env.load_connections.put_back(client);
                return Ok(finished);
            }
            Err(LoadError::BeingUndone(other)) => {
                tracing::info!(
                    "rows of this chunk stand in upload {other}, which is being taken back: waiting"
                );
                let phase = waiting::phase(other);
                context.progress(0, Some(work.chunk.records), "records", &phase).await;
                return Ok(Finished::Snooze(UNDO_WAIT));
            }
            Err(LoadError::Database(error)) => try_again(&mut lost, error)?,
        }
    }
}

/// Does it unless the run is to stop: then it is left where it is. The caller returns and drops its connection,
/// which ends the statement and rolls back; was it just committing, the run may be done instead.
pub(super) async fn unless_cancelled<T>(
    context: &RunContext,
    work: impl Future<Output = T>,
) -> Result<T, JobError> {
    tokio::select! {
        biased;
        () = context.cancel.cancelled() => Err(JobError::Cancelled),
        done = work => Ok(done),
    }
}

fn mapping(upload: &Upload) -> Mapping {
    Mapping::from_named(upload.kind, upload.mapping.as_ref().unwrap_or(&serde_json::Value::Null))
}

/// What the upload's file calls a field.
pub(super) fn name_in_file(upload: &Upload, field: &str) -> String {
    let at = columns::fields(upload.kind).iter().position(|known| known.name == field).unwrap_or(0);
    mapping(upload).name_in_file(upload.kind, at, upload.header.as_deref().unwrap_or_default())
}

async fn read(
    context: &RunContext,
    upload: &Upload,
    chunk: &Chunk,
) -> Result<(Rows, Vec<BadRecord>), JobError> {
    let (start, end) = (chunk.byte_start.unsigned_abs(), chunk.byte_end.unsigned_abs());
    let oversized = chunk.records == 1 && end - start > MAX_RECORD_BYTES as u64;
    let kept_end = if oversized { start + OVERSIZED_KEPT } else { end };
    let bytes =
        context.env.storage.read_range(upload.text_key(), start..kept_end).await.map_err(JobError::retry)?;
    let header = upload.header.clone().unwrap_or_default();
    let mapping = mapping(upload);
    let options = upload.read_options().map_err(JobError::fail)?;
    let settings = &context.env.settings;
    let now = context.env.clock.now();
    let reading = Reading {
        form: record_form(context, upload),
        header,
        mapping,
        zone: options.zone.unwrap_or(settings.zone),
        currency: settings.currency.as_bytes().try_into().map_err(JobError::fail)?,
        until_us: end_of_next_year(now),
        today: now.with_timezone(&settings.zone).date_naive(),
    };
    let (kind, line, records) = (upload.kind, chunk.first_line, usize::try_from(chunk.records).unwrap_or(0));
    tokio::task::spawn_blocking(move || {
        let text = Vec::from(bytes);
        if oversized {
            return oversized_record(kind, text, line, end - start);
        }
        match kind {
            UploadKind::Transactions => {
                let mut batch = Batch::parse(text, line, records, &reading);
                let rejects = std::mem::take(&mut batch.rejects);
                (Rows::Transactions(Prepared::new(batch)), rejects)
            }
            UploadKind::Clients => {
                let mut batch = ClientBatch::parse(text, line, &reading);
                let rejects = std::mem::take(&mut batch.rejects);
                (Rows::Clients(batch), rejects)
            }
            UploadKind::Stocks => {
                let mut batch = StockBatch::parse(text, line, &reading);
                let rejects = std::mem::take(&mut batch.rejects);
                (Rows::Stocks(batch), rejects)
            }
        }
    })
    .await
    .map_err(JobError::retry)
}

/// How the records of the upload's text are formed.
fn record_form(context: &RunContext, upload: &Upload) -> RecordForm {
    let format = upload.read_format().unwrap_or_else(plain_text);
    RecordForm {
        delimiter: u8::try_from(format.delimiter).unwrap_or(DELIMITER),
        counts_rows: format.counts_rows(),
        field_bytes: context.env.files.field_bytes,
    }
}

fn oversized_record(kind: UploadKind, text: Vec<u8>, line: i64, size: u64) -> (Rows, Vec<BadRecord>) {
    let message = format!(
        "the record has {size} bytes, more than the {MAX_RECORD_BYTES} that one may have; only its first \
         {OVERSIZED_KEPT} are kept here, all of it in the stored file"
    );
    let record = Span::new(0, text.len());
    let reject = BadRecord { line, column: None, code: "record_too_long", message, record };
    let rows = match kind {
        UploadKind::Transactions => Rows::Transactions(Prepared::new(Batch { text, ..Batch::default() })),
        UploadKind::Clients => Rows::Clients(ClientBatch { text, ..ClientBatch::default() }),
        UploadKind::Stocks => Rows::Stocks(StockBatch { text, ..StockBatch::default() }),
    };
    (rows, vec![reject])
}

impl Rows {
    pub(super) fn text(&self) -> &[u8] {
        match self {
            Self::Transactions(prepared) => &prepared.batch.text,
            Self::Clients(batch) => &batch.text,
            Self::Stocks(batch) => &batch.text,
        }
    }
}
