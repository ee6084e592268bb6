//! The transaction that ends a chunk: rows, rejects, counts and the run's "done", all or nothing. A
//! check does the same without the rows.

use super::{
    chunk::{Purpose, Rows, name_in_file},
    model::{Chunk, UnknownClients, Upload, UploadOptions},
    reading::BadRecord,
};
use crate::{
    cache::Topic,
    clients,
    db::{LoadConnection, LoadTransaction},
    ledger::postings,
    runs::{Finished, JobError, RunContext},
    stocks,
    transactions::{
        accounts::{self, Unconverted},
        copy::CopyWriter,
        load::{self, LoadError, Source},
        parse::Row,
        prepared::Prepared,
        prerequisites,
    },
};
use chrono::{DateTime, Utc};
use std::collections::{HashMap, HashSet};
use tokio_postgres::{Error, Transaction};

/// A chunk that was read and is to be loaded or checked.
pub(super) struct Work<'a> {
    pub(super) context: &'a RunContext,
    pub(super) upload: &'a Upload,
    pub(super) options: UploadOptions,
    pub(super) chunk: &'a Chunk,
    pub(super) purpose: Purpose,
    pub(super) rows: Rows,
    pub(super) rejects: Vec<BadRecord>,
}

/// What became of a chunk's rows.
struct Counts {
    inserted: i64,
    updated: i64,
    duplicates: i64,
    conflicts: Vec<BadRecord>,
    bounds: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

impl Work<'_> {
    /// Makes the months and the clients that the rows need, in short transactions of their own; rejects
    /// the rows of unknown clients where the upload wants that. A check makes nothing.
    pub(super) async fn prepare(&mut self, client: &LoadConnection) -> Result<(), JobError> {
        let Rows::Transactions(prepared) = &mut self.rows else { return Ok(()) };
        if self.options.unknown_clients == UnknownClients::Reject {
            let unknown =
                prerequisites::unknown_clients(client, &prepared.clients()).await.map_err(JobError::retry)?;
            let unknown: HashSet<String> = unknown.into_iter().collect();
            let column = name_in_file(self.upload, "client_id");
            take_out(prepared, &mut self.rejects, |text, row| {
                let client = String::from_utf8_lossy(row.client_id.of(text));
                unknown.contains(client.as_ref()).then(|| BadRecord {
                    line: row.line,
                    column: Some(column.clone()),
                    code: "unknown_client",
                    message: format!(
                        "client {client:?} is not known; load the clients first, or let unknown ones be created"
                    ),
                    record: row.record,
                })
            });
        }
        if self.purpose == Purpose::Check {
            return Ok(());
        }
        prerequisites::ensure_months(client, &prepared.months()).await.map_err(JobError::retry)?;
        if self.options.unknown_clients == UnknownClients::Create {
            let currency = &self.context.env.settings.currency;
            prerequisites::ensure_clients(client, &prepared.clients(), currency)
                .await
                .map_err(JobError::retry)?;
        }
        Ok(())
    }

    /// What is read in haste and changes with the commit.
    pub(super) fn topics(&self) -> &'static [Topic] {
        match (&self.rows, self.purpose) {
            (Rows::Clients(_), Purpose::Load) => &[Topic::All],
            (Rows::Stocks(_), Purpose::Load) => &[Topic::Stocks],
            _ => &[],
        }
    }

    /// The transaction. Dying before its commit leaves nothing; after it, everything.
    pub(super) async fn commit(&mut self, client: &mut LoadConnection) -> Result<Finished, LoadError> {
        let transaction = client.begin().await?;
        let counts = match &mut self.rows {
            Rows::Transactions(prepared) => {
                reject_unconverted(&transaction, self.context, self.upload, prepared, &mut self.rejects)
                    .await?;
                self.transactions(&transaction).await?
            }
            Rows::Clients(_) => self.clients(&transaction).await?,
            Rows::Stocks(_) => self.stocks(&transaction).await?,
        };
        self.write_rejects(&transaction, &counts.conflicts).await?;
        self.write_counts(&transaction, &counts).await?;
        let (rejected, conflicts) = (self.rejects.len(), counts.conflicts.len());
        let result = serde_json::json!({
            "read": self.chunk.records, "inserted": counts.inserted, "updated": counts.updated,
            "duplicates": counts.duplicates, "conflicts": conflicts, "rejected": rejected,
        });
        let closed = self.context.complete_copy(&transaction, &result).await?;
        transaction.commit().await?;
        tracing::info!(
            read = self.chunk.records,
            inserted = counts.inserted,
            updated = counts.updated,
            duplicates = counts.duplicates,
            conflicts,
            rejected,
            "chunk {} is {}",
            self.chunk.chunk,
            if self.purpose == Purpose::Load { "loaded" } else { "checked" }
        );
        Ok(closed.into())
    }

    async fn transactions(&self, transaction: &LoadTransaction<'_>) -> Result<Counts, LoadError> {
        let Rows::Transactions(prepared) = &self.rows else { unreachable!("the caller has looked") };
        let loaded = match self.purpose {
            Purpose::Check => load::rehearse(transaction, prepared, self.upload.id).await?,
            Purpose::Load => {
                let source = Source { name: "upload", id: Some(self.upload.id.0), chunk: self.chunk.chunk };
                let zone = self.context.env.settings.zone;
                let loaded = load::load(transaction, prepared, source, zone).await?;
                postings::note(transaction, self.upload.id, self.chunk.chunk, prepared, &loaded.settled)
                    .await?;
                loaded
            }
        };
        let conflict = |conflict: load::Conflict| {
            let row = &prepared.batch.rows[conflict.row];
            BadRecord {
                line: row.line,
                column: Some(name_in_file(self.upload, "transaction_id")),
                code: "conflict",
                message: conflict.message,
                record: row.record,
            }
        };
        Ok(Counts {
            inserted: loaded.inserted,
            updated: loaded.updated.len() as i64,
            duplicates: loaded.duplicates.len() as i64,
            conflicts: loaded.conflicts.into_iter().map(conflict).collect(),
            bounds: loaded.bounds,
        })
    }

    async fn clients(&self, transaction: &Transaction<'_>) -> Result<Counts, Error> {
        let Rows::Clients(batch) = &self.rows else { unreachable!("the caller has looked") };
        let currency = &self.context.env.settings.currency;
        transaction.batch_execute("SAVEPOINT clients").await?;
        let loaded = clients::load::load(transaction, batch, currency, self.options.existing_clients).await?;
        let end = match self.purpose {
            Purpose::Load => "RELEASE clients",
            Purpose::Check => "ROLLBACK TO clients",
        };
        transaction.batch_execute(end).await?;
        let conflict = |conflict: clients::load::ClientConflict| {
            let place = batch.rows[conflict.row].0;
            BadRecord {
                line: place.line,
                column: Some(name_in_file(self.upload, conflict.column)),
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
            bounds: None,
        })
    }

    async fn stocks(&self, transaction: &Transaction<'_>) -> Result<Counts, Error> {
        let Rows::Stocks(batch) = &self.rows else { unreachable!("the caller has looked") };
        let loaded = match self.purpose {
            Purpose::Check => stocks::load::rehearse(transaction, batch, self.upload.id).await?,
            Purpose::Load => stocks::load::load(transaction, batch, &self.upload.created_by).await?,
        };
        let conflict = |conflict: stocks::load::StockConflict| {
            let place = batch.rows[conflict.row].0;
            BadRecord {
                line: place.line,
                column: Some(name_in_file(self.upload, "ticker")),
                code: "conflict",
                message: conflict.message,
                record: place.span,
            }
        };
        Ok(Counts {
            inserted: loaded.inserted,
            updated: 0,
            duplicates: loaded.duplicates,
            conflicts: loaded.conflicts.into_iter().map(conflict).collect(),
            bounds: None,
        })
    }

    async fn write_rejects(
        &self,
        transaction: &Transaction<'_>,
        conflicts: &[BadRecord],
    ) -> Result<(), Error> {
        if self.rejects.is_empty() && conflicts.is_empty() {
            return Ok(());
        }
        let mut copy = CopyWriter::begin(
            transaction,
            "COPY upload_rejects (upload_id, line, chunk, column_name, code, message, raw) FROM STDIN BINARY",
        )
        .await?;
        for reject in self.rejects.iter().chain(conflicts) {
            copy.row(7).await?;
            copy.uuid(self.upload.id.0);
            copy.bigint(reject.line);
            copy.integer(self.chunk.chunk);
            copy.optional_bytes(reject.column.as_deref().map(str::as_bytes));
            copy.bytes(reject.code.as_bytes());
            copy.bytes(reject.message.as_bytes());
            copy.bytes(reject.record.of(self.rows.text()));
        }
        copy.finish().await?;
        Ok(())
    }

    /// The counts; of the check before an all-or-nothing load only those of the records that cannot be
    /// loaded.
    async fn write_counts(&self, transaction: &Transaction<'_>, counts: &Counts) -> Result<(), Error> {
        let (rejected, conflicts) = (self.rejects.len() as i64, counts.conflicts.len() as i64);
        let (upload, chunk) = (&self.upload.id.0, &self.chunk.chunk);
        if self.purpose == Purpose::Check && !self.options.dry_run {
            transaction
                .execute(
                    "UPDATE upload_chunks SET faults = $3::bigint + $4::bigint, conflicts = $3, rejected = $4
                     WHERE upload_id = $1 AND chunk = $2",
                    &[upload, chunk, &conflicts, &rejected],
                )
                .await?;
            return Ok(());
        }
        let (first, last) = counts.bounds.unzip();
        transaction
            .execute(
                "UPDATE upload_chunks SET loaded_at = now(), inserted = $3, updated = $4, duplicates = $5,
                     conflicts = $6, rejected = $7, first_at = $8, last_at = $9
                 WHERE upload_id = $1 AND chunk = $2",
                &[
                    upload,
                    chunk,
                    &counts.inserted,
                    &counts.updated,
                    &counts.duplicates,
                    &conflicts,
                    &rejected,
                    &first,
                    &last,
                ],
            )
            .await?;
        Ok(())
    }
}

/// Converts buys and sells into the currencies of their accounts; rejects those that cannot be.
async fn reject_unconverted(
    transaction: &Transaction<'_>,
    context: &RunContext,
    upload: &Upload,
    prepared: &mut Prepared,
    rejects: &mut Vec<BadRecord>,
) -> Result<(), Error> {
    let currency = context.env.settings.currency.as_bytes().try_into().unwrap_or_default();
    let unconverted = accounts::convert(transaction, &mut prepared.batch, currency).await?;
    if unconverted.is_empty() {
        return Ok(());
    }
    let column = name_in_file(upload, "currency");
    let line = |row: usize| prepared.batch.rows[row].line;
    let mut bad: HashMap<i64, Unconverted> =
        unconverted.into_iter().map(|unconverted| (line(unconverted.row), unconverted)).collect();
    take_out(prepared, rejects, |_, row| {
        bad.remove(&row.line).map(|Unconverted { code, message, .. }| BadRecord {
            line: row.line,
            column: Some(column.clone()),
            code,
            message,
            record: row.record,
        })
    });
    Ok(())
}

/// Takes the rows out of a batch that are bad after all.
fn take_out(
    prepared: &mut Prepared,
    rejects: &mut Vec<BadRecord>,
    mut bad: impl FnMut(&[u8], &Row) -> Option<BadRecord>,
) {
    let mut batch = std::mem::take(&mut prepared.batch);
    let (text, before) = (&batch.text, batch.rows.len());
    batch.rows.retain(|row| match bad(text, row) {
        Some(reject) => {
            rejects.push(reject);
            false
        }
        None => true,
    });
    if batch.rows.len() == before {
        prepared.batch = batch;
    } else {
        *prepared = Prepared::new(batch);
    }
}
