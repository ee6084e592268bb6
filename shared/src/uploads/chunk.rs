//! Loading one chunk: read its bytes, parse them, make what must be there before, and then one
//! database transaction with the rows, the rejects, the chunk's counts and the run's "done".

use super::{
    columns::{self, Mapping},
    formats::plain_text,
    jobs::{IngestChunk, upload},
    model::{Chunk, UnknownClients, Upload, UploadKind, UploadOptions},
    plan::DELIMITER,
    queries,
    reading::{BadRecord, RecordForm},
    records::{MAX_RECORD_BYTES, Span},
};
use crate::{
    clients::{self, parse::ClientBatch},
    runs::{Finished, JobError, RunContext},
    transactions::{
        copy::CopyWriter,
        load::{self, Prepared, Source},
        parse::{Batch, Reading, end_of_next_year},
        prerequisites,
    },
};
use std::{collections::HashSet, sync::Arc};
use tokio_postgres::{Client, Error, Transaction, error::SqlState};

/// How often a load that lost a deadlock or a lock is tried again at once.
const CONTENTION_RETRIES: u32 = 20;
/// What is kept of a record that is too long to be read.
const OVERSIZED_KEPT: u64 = 64 << 10;

/// A chunk's parsed rows.
enum Rows {
    Transactions(Arc<Prepared>),
    Clients(Arc<ClientBatch>),
}

/// What became of a chunk.
struct Counts {
    inserted: i64,
    updated: i64,
    duplicates: i64,
    conflicts: Vec<BadRecord>,
}

/// A connection for loading.
pub(super) async fn connect(context: &RunContext) -> Result<Client, JobError> {
    context.env.load_connections.take(prerequisites::SESSION).await.map_err(JobError::retry)
}

/// The handler of [`IngestChunk`].
pub(super) async fn ingest(job: IngestChunk, context: RunContext) -> Result<Finished, JobError> {
    let (upload, chunk) = {
        let conn = &mut *context.connection().await?;
        let chunk = queries::find_chunk(conn, job.upload_id, job.chunk).await.map_err(JobError::retry)?;
        (upload(conn, job.upload_id).await?, chunk)
    };
    if chunk.loaded_at.is_some() {
        // Its rows would now all be duplicates, and its counts would say so.
        return Ok(Finished::Result(serde_json::json!({ "loaded": "before" })));
    }
    let (rows, mut rejects) = read(&context, &upload, &chunk).await?;
    let mut client = connect(&context).await?;
    let rows = prepare(&context, &client, &upload, rows, &mut rejects).await?;
    for attempt in 1.. {
        if context.cancel.is_cancelled() {
            return Err(JobError::Cancelled);
        }
        match commit(&context, &mut client, &upload, &chunk, &rows, &rejects).await {
            Ok(finished) => {
                context.env.load_connections.put_back(client);
                return Ok(finished);
            }
            Err(error) if attempt < CONTENTION_RETRIES && is_contention(&error) => {
                tracing::info!(%error, attempt, "another load was in the way; trying again");
            }
            Err(error) => return Err(JobError::retry(error)),
        }
    }
    unreachable!("the loop returns")
}

/// Deadlocks, lock timeouts and meetings on a unique key end with the other transaction: at once again.
fn is_contention(error: &Error) -> bool {
    error.code().is_some_and(|code| {
        [&SqlState::T_R_DEADLOCK_DETECTED, &SqlState::LOCK_NOT_AVAILABLE, &SqlState::UNIQUE_VIOLATION]
            .contains(&code)
    })
}

fn mapping(upload: &Upload) -> Mapping {
    Mapping::from_named(upload.kind, upload.mapping.as_ref().unwrap_or(&serde_json::Value::Null))
}

/// What the upload's file calls a field.
fn name_in_file(upload: &Upload, field: &str) -> String {
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
    let options: UploadOptions = serde_json::from_value(upload.options.clone()).map_err(JobError::fail)?;
    let settings = &context.env.settings;
    let reading = Reading {
        form: record_form(context, upload),
        header,
        mapping,
        zone: options.zone.unwrap_or(settings.zone),
        currency: settings.currency.as_bytes().try_into().map_err(JobError::fail)?,
        until_us: end_of_next_year(context.env.clock.now()),
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
                (Rows::Transactions(Arc::new(Prepared::new(batch))), rejects)
            }
            UploadKind::Clients => {
                let mut batch =
                    ClientBatch::parse(text, line, reading.form, &reading.header, &reading.mapping);
                let rejects = std::mem::take(&mut batch.rejects);
                (Rows::Clients(Arc::new(batch)), rejects)
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
        UploadKind::Transactions => {
            Rows::Transactions(Arc::new(Prepared::new(Batch { text, ..Batch::default() })))
        }
        UploadKind::Clients => Rows::Clients(Arc::new(ClientBatch { text, ..ClientBatch::default() })),
    };
    (rows, vec![reject])
}

impl Rows {
    fn text(&self) -> &[u8] {
        match self {
            Self::Transactions(prepared) => &prepared.batch.text,
            Self::Clients(batch) => &batch.text,
        }
    }
}

/// Makes the months and the clients that the rows need, in short transactions of their own; rejects
/// the rows of unknown clients where the upload wants that.
async fn prepare(
    context: &RunContext,
    client: &Client,
    upload: &Upload,
    rows: Rows,
    rejects: &mut Vec<BadRecord>,
) -> Result<Rows, JobError> {
    let Rows::Transactions(mut prepared) = rows else { return Ok(rows) };
    let options: UploadOptions = serde_json::from_value(upload.options.clone()).map_err(JobError::fail)?;
    if options.unknown_clients == UnknownClients::Reject {
        let unknown =
            prerequisites::unknown_clients(client, &prepared.clients()).await.map_err(JobError::retry)?;
        if !unknown.is_empty() {
            let unknown: HashSet<String> = unknown.into_iter().collect();
            let column = name_in_file(upload, "client_id");
            let batch = Arc::try_unwrap(prepared).expect("nobody else has it yet").batch;
            prepared = Arc::new(Prepared::new(without_clients(batch, &unknown, &column, rejects)));
        }
    }
    prerequisites::ensure_months(client, &prepared.months()).await.map_err(JobError::retry)?;
    if options.unknown_clients == UnknownClients::Create {
        let currency = &context.env.settings.currency;
        prerequisites::ensure_clients(client, &prepared.clients(), currency)
            .await
            .map_err(JobError::retry)?;
    }
    Ok(Rows::Transactions(prepared))
}

fn without_clients(
    mut batch: Batch,
    unknown: &HashSet<String>,
    column: &str,
    rejects: &mut Vec<BadRecord>,
) -> Batch {
    let text = &batch.text;
    batch.rows.retain(|row| {
        let client = String::from_utf8_lossy(row.client_id.of(text));
        if !unknown.contains(client.as_ref()) {
            return true;
        }
        rejects.push(BadRecord {
            line: row.line,
            column: Some(column.to_owned()),
            code: "unknown_client",
            message: format!(
                "client {client:?} is not known; load the clients first, or let unknown ones be created"
            ),
            record: row.record,
        });
        false
    });
    batch
}

/// The loading transaction. Dying before its commit leaves nothing; after it, everything.
async fn commit(
    context: &RunContext,
    client: &mut Client,
    upload: &Upload,
    chunk: &Chunk,
    rows: &Rows,
    rejects: &[BadRecord],
) -> Result<Finished, Error> {
    let transaction = client.transaction().await?;
    let counts = match rows {
        Rows::Transactions(prepared) => load_transactions(&transaction, context, upload, prepared).await?,
        Rows::Clients(batch) => load_clients(&transaction, context, upload, batch).await?,
    };
    write_rejects(&transaction, upload, chunk, rows.text(), rejects, &counts.conflicts).await?;
    let (rejected, conflicts) = (rejects.len() as i64, counts.conflicts.len() as i64);
    transaction
        .execute(
            "UPDATE upload_chunks SET loaded_at = now(), inserted = $3, updated = $4, duplicates = $5,
                 conflicts = $6, rejected = $7 WHERE upload_id = $1 AND chunk = $2",
            &[
                &upload.id.0,
                &chunk.chunk,
                &counts.inserted,
                &counts.updated,
                &counts.duplicates,
                &conflicts,
                &rejected,
            ],
        )
        .await?;
    let result = serde_json::json!({
        "read": chunk.records, "inserted": counts.inserted, "updated": counts.updated,
        "duplicates": counts.duplicates, "conflicts": conflicts, "rejected": rejected,
    });
    let closed = context.complete_copy(&transaction, &result).await?;
    transaction.commit().await?;
    tracing::info!(
        read = chunk.records,
        inserted = counts.inserted,
        updated = counts.updated,
        duplicates = counts.duplicates,
        conflicts,
        rejected,
        "chunk {} is loaded",
        chunk.chunk
    );
    Ok(closed.into())
}

async fn load_transactions(
    transaction: &Transaction<'_>,
    context: &RunContext,
    upload: &Upload,
    prepared: &Arc<Prepared>,
) -> Result<Counts, Error> {
    let source = Source { name: "upload", id: upload.id.0 };
    let loaded = load::load(transaction, prepared, source, context.env.settings.zone).await?;
    let conflict = |conflict: load::Conflict| {
        let row = &prepared.batch.rows[conflict.row];
        BadRecord {
            line: row.line,
            column: Some(name_in_file(upload, "transaction_id")),
            code: "conflict",
            message: conflict.message,
            record: row.record,
        }
    };
    Ok(Counts {
        inserted: loaded.inserted,
        updated: loaded.updated,
        duplicates: loaded.duplicates,
        conflicts: loaded.conflicts.into_iter().map(conflict).collect(),
    })
}

async fn load_clients(
    transaction: &Transaction<'_>,
    context: &RunContext,
    upload: &Upload,
    batch: &Arc<ClientBatch>,
) -> Result<Counts, Error> {
    let loaded = clients::load::load(transaction, batch, &context.env.settings.currency).await?;
    let conflict = |conflict: clients::load::ClientConflict| {
        let place = batch.rows[conflict.row].0;
        BadRecord {
            line: place.line,
            column: Some(name_in_file(upload, conflict.column)),
            code: "conflict",
            message: conflict.message,
            record: place.span,
        }
    };
    Ok(Counts {
        inserted: loaded.inserted,
        updated: loaded.updated,
        duplicates: loaded.duplicates,
        conflicts: loaded.conflicts.into_iter().map(conflict).collect(),
    })
}

async fn write_rejects(
    transaction: &Transaction<'_>,
    upload: &Upload,
    chunk: &Chunk,
    text: &[u8],
    rejects: &[BadRecord],
    conflicts: &[BadRecord],
) -> Result<(), Error> {
    if rejects.is_empty() && conflicts.is_empty() {
        return Ok(());
    }
    let mut copy = CopyWriter::begin(
        transaction,
        "COPY upload_rejects (upload_id, line, chunk, column_name, code, message, raw) FROM STDIN BINARY",
    )
    .await?;
    for reject in rejects.iter().chain(conflicts) {
        copy.row(7).await?;
        copy.uuid(upload.id.0);
        copy.bigint(reject.line);
        copy.integer(chunk.chunk);
        copy.optional_bytes(reject.column.as_deref().map(str::as_bytes));
        copy.bytes(reject.code.as_bytes());
        copy.bytes(reject.message.as_bytes());
        copy.bytes(reject.record.of(text));
    }
    copy.finish().await?;
    Ok(())
}
