//! The one way into `transactions`. Keys first: the registry tells which rows are new, only those are
//! copied, and every summary moves with them, all in the caller's transaction. Rows and keys go in
//! sorted, so that parallel loads meet in one order and do not deadlock.

use super::{
    copy::CopyWriter,
    keys,
    model::TransactionStatus,
    ownership,
    prepared::{self, Prepared},
    totals,
    versions::{name_conflicts, text},
};
use crate::{db::LoadTransaction, ids::UploadId, uploads::records::Span};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use std::collections::HashSet;
use tokio_postgres::{Error, Transaction};

/// Where rows come from.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// upload, live, trade or synthetic.
    pub name: &'static str,
    /// The upload; of trades each row's own, whose id its transaction has.
    pub id: Option<uuid::Uuid>,
    /// The upload's chunk.
    pub chunk: i32,
}

impl Source {
    /// Rows that come one by one; a commit of them has an id if it moves money.
    pub const fn live(commit: Option<uuid::Uuid>) -> Self {
        Self { name: "live", id: commit, chunk: 0 }
    }

    /// Trades.
    pub const TRADES: Self = Self { name: "trade", id: None, chunk: 0 };

    fn id_of(&self, transaction_id: &[u8]) -> Option<uuid::Uuid> {
        match self.name {
            "trade" => uuid::Uuid::try_parse_ascii(transaction_id).ok(),
            _ => self.id,
        }
    }
}

/// Why a batch could not be loaded now.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
    /// Some of its rows are there, but are just being taken back: try again when that is done.
    #[error("the rows of upload {0} are being taken back")]
    BeingUndone(UploadId),
}

/// A record that was there before with another content.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// The row in the batch.
    pub row: usize,
    /// Both versions, for people.
    pub message: String,
}

/// What became of a batch's rows.
#[derive(Debug, Default)]
pub struct Loaded {
    /// New rows.
    pub inserted: i64,
    /// Rows whose status moved from pending.
    pub updated: Vec<u32>,
    /// Rows that were there, the same.
    pub duplicates: Vec<u32>,
    /// Rows that were there, different.
    pub conflicts: Vec<Conflict>,
    /// Buys and sells that took place: new ones, and those that were pending until now.
    pub settled: Vec<Settled>,
    /// The first and the last time of the new rows.
    pub bounds: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

/// A buy or sell that took place.
#[derive(Debug, Clone, Copy)]
pub struct Settled {
    /// The row in the batch.
    pub row: u32,
    /// What moves in the client's account, in its currency; units.
    pub account_amount: i128,
}

/// What the registry knew of a batch's rows.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Rows that are there, the same.
    pub(super) duplicates: Vec<u32>,
    /// Rows whose status may move.
    pub(super) moves: Vec<u32>,
    /// The recorded hash of every known row.
    pub(super) hashes: std::collections::HashMap<u32, i64>,
}

/// A batch whose ids are registered: what is new in it, and what was known. Nothing else is locked yet.
pub struct Met {
    fresh: Vec<u32>,
    moves: Vec<u32>,
    loaded: Loaded,
}

impl Met {
    /// Rows that will be added, by month, client and time.
    pub fn fresh(&self) -> &[u32] {
        &self.fresh
    }

    /// Rows whose status may move from pending.
    pub fn moves(&self) -> &[u32] {
        &self.moves
    }

    /// Rows that were there, different.
    pub fn conflicts(&self) -> &[Conflict] {
        &self.loaded.conflicts
    }
}

/// Loads a batch within the caller's transaction. Its months and clients must exist
/// (`ensure_months`, `ensure_clients`). Lock order: keys, then summaries in `totals`.
pub async fn load(
    transaction: &LoadTransaction<'_>,
    prepared: &Prepared,
    source: Source,
    zone: Tz,
) -> Result<Loaded, LoadError> {
    let met = meet(transaction, prepared, source).await?;
    add(transaction, prepared, met, source, zone).await
}

/// The first half of [`load`]: registers the ids of a batch and tells which rows are new. Who has more to lock
/// than summaries does so between the two.
pub async fn meet(
    transaction: &LoadTransaction<'_>,
    prepared: &Prepared,
    source: Source,
) -> Result<Met, LoadError> {
    let mut loaded = Loaded::default();
    if prepared.by_id.is_empty() {
        return Ok(Met { fresh: Vec::new(), moves: Vec::new(), loaded });
    }
    let mut new = vec![true; prepared.batch.rows.len()];
    let mut known = Known::default();
    // Few ids are not worth a second try.
    if prepared.by_id.len() < totals::FEW || !keys::register_all(transaction, prepared).await? {
        new = keys::register_new(transaction, prepared).await?;
        if prepared.by_id.iter().any(|&row| !new[row as usize]) {
            known = keys::classify(transaction, prepared, &new, &mut loaded).await?;
        }
    }
    ownership::hold(transaction, prepared, &known, source).await?;
    settle_repeats(transaction, prepared, &known, &mut loaded).await?;
    let fresh = prepared.by_place.iter().copied().filter(|&row| new[row as usize]).collect();
    Ok(Met { fresh, moves: known.moves, loaded })
}

/// The second half of [`load`]: adds the new rows, moves statuses, and brings every summary up to date.
pub async fn add(
    transaction: &LoadTransaction<'_>,
    prepared: &Prepared,
    met: Met,
    source: Source,
    zone: Tz,
) -> Result<Loaded, LoadError> {
    let Met { fresh, moves, mut loaded } = met;
    if fresh.is_empty() && moves.is_empty() {
        return Ok(loaded);
    }
    loaded.inserted = fresh.len() as i64;
    loaded.bounds = bounds(prepared, &fresh);
    if moves.is_empty() && fresh.len() < totals::FEW {
        loaded.settled = fresh.iter().filter_map(|&row| settled(prepared, row)).collect();
        // The totals need no answer about the rows: PostgreSQL works both off in this order.
        let totals = totals::apply(transaction, prepared, fresh.clone(), Vec::new(), zone);
        tokio::try_join!(biased; copy_rows(transaction, prepared, &fresh, source), totals)?;
        return Ok(loaded);
    }
    copy_rows(transaction, prepared, &fresh, source).await?;
    let moved = move_statuses(transaction, prepared, moves, source).await?;
    loaded.updated.extend(&moved.done);
    loaded.duplicates.extend(moved.overtaken);
    loaded.settled = fresh.iter().filter_map(|&row| settled(prepared, row)).chain(moved.settled).collect();
    totals::apply(transaction, prepared, fresh, moved.done, zone).await?;
    Ok(loaded)
}

/// Registers the ids of a batch, before anything else is locked; tells by row which are new. What is registered
/// and then not added is let go by [`unregister`] in the same transaction.
pub(crate) async fn register(
    transaction: &LoadTransaction<'_>,
    prepared: &Prepared,
) -> Result<Vec<bool>, Error> {
    keys::register_new(transaction, prepared).await
}

/// Lets go of ids that [`register`] has taken in this transaction.
pub(crate) async fn unregister(transaction: &Transaction<'_>, ids: &[String]) -> Result<(), Error> {
    if !ids.is_empty() {
        transaction.execute("DELETE FROM transaction_keys WHERE transaction_id = ANY ($1)", &[&ids]).await?;
    }
    Ok(())
}

/// Adds rows whose ids [`register`] found new, and brings every summary up to date with them. Their months and
/// clients must exist.
pub(crate) async fn add_registered(
    transaction: &LoadTransaction<'_>,
    prepared: &Prepared,
    source: Source,
    zone: Tz,
) -> Result<(), Error> {
    let rows = prepared.by_place.clone();
    copy_rows(transaction, prepared, &rows, source).await?;
    totals::apply(transaction, prepared, rows, Vec::new(), zone).await
}

/// What loading a batch would do, as far as the record of now and the batches of the same upload that
/// were rehearsed before can tell. Registers nothing; run it in a transaction that commits.
pub async fn rehearse(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    upload: UploadId,
) -> Result<Loaded, Error> {
    let mut loaded = Loaded::default();
    if prepared.by_id.is_empty() {
        return Ok(loaded);
    }
    keys::copy(transaction, prepared, "incoming_keys").await?;
    let none_new = vec![false; prepared.batch.rows.len()];
    let known = keys::classify(transaction, prepared, &none_new, &mut loaded).await?;
    loaded.updated.clone_from(&known.moves);
    keys::rehearse_new(transaction, prepared, &known, upload, &mut loaded).await?;
    settle_repeats(transaction, prepared, &known, &mut loaded).await?;
    Ok(loaded)
}

async fn settle_repeats(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    known: &Known,
    loaded: &mut Loaded,
) -> Result<(), Error> {
    let conflicts = prepared::settle(prepared, &known.hashes, loaded);
    loaded.conflicts.extend(name_conflicts(transaction, prepared, &conflicts).await?);
    Ok(())
}

/// A new row, if it is a buy or sell that took place.
fn settled(prepared: &Prepared, row: u32) -> Option<Settled> {
    let trade = prepared.row(row).trade.as_ref()?;
    let took_place = prepared.row(row).status == TransactionStatus::Success;
    trade.account_amount.filter(|_| took_place).map(|account_amount| Settled { row, account_amount })
}

fn instant(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// The first and the last time of some rows.
pub(super) fn bounds(prepared: &Prepared, rows: &[u32]) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let times = || rows.iter().map(|&row| prepared.row(row).occurred_us);
    Some((instant(times().min()?), instant(times().max()?)))
}

async fn copy_rows(
    transaction: &LoadTransaction<'_>,
    prepared: &Prepared,
    rows: &[u32],
    source: Source,
) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let statement = transaction
        .prepared(
            "COPY transactions (occurred_at, amount, account_amount, shares, price, source_id, source_line,
             transaction_id, client_id, merchant_id, product_id, kind, ticker, stock_name, currency, status,
             channel, source)
         FROM STDIN BINARY",
        )
        .await?;
    let mut copy = CopyWriter::begin(transaction, &statement).await?;
    let all = &prepared.batch.text;
    for &index in rows {
        let row = prepared.row(index);
        let optional = |span: Option<Span>| span.map(|span| span.of(all));
        let trade = row.trade.as_deref();
        copy.row(18).await?;
        copy.instant(row.occurred_us);
        copy.units(row.amount);
        copy.optional_units(trade.and_then(|trade| trade.account_amount));
        copy.optional_units(trade.and_then(|trade| trade.shares));
        copy.optional_units(trade.and_then(|trade| trade.price));
        copy.optional_uuid(source.id_of(row.transaction_id.of(all)));
        copy.optional_integer((row.line > 0).then(|| i32::try_from(row.line).unwrap_or(i32::MAX)));
        copy.bytes(row.transaction_id.of(all));
        copy.bytes(row.client_id.of(all));
        copy.optional_bytes(optional(row.merchant_id));
        copy.optional_bytes(optional(row.product_id));
        copy.bytes(row.kind.as_str().as_bytes());
        copy.optional_bytes(optional(row.ticker));
        copy.optional_bytes(optional(row.stock_name));
        copy.bytes(&row.currency);
        copy.bytes(row.status.as_str().as_bytes());
        copy.optional_bytes(optional(row.channel));
        copy.bytes(source.name.as_bytes());
    }
    copy.finish().await?;
    Ok(())
}

/// Rows whose recorded status moved from pending.
#[derive(Default)]
struct Moved {
    done: Vec<u32>,
    /// Rows that another load had moved before this one held the key.
    overtaken: Vec<u32>,
    settled: Vec<Settled>,
}

/// Moves the statuses of recorded rows from pending to what the batch says, and notes who did.
async fn move_statuses(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    rows: Vec<u32>,
    source: Source,
) -> Result<Moved, Error> {
    if rows.is_empty() {
        return Ok(Moved::default());
    }
    let id = |row: u32| text(prepared.row(row).transaction_id.of(&prepared.batch.text));
    let ids: Vec<&str> = rows.iter().map(|&row| id(row)).collect();
    let held: HashSet<String> = transaction
        .query(
            "SELECT transaction_id FROM transaction_keys WHERE transaction_id = ANY ($1) AND pending
             ORDER BY transaction_id FOR NO KEY UPDATE",
            &[&ids],
        )
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let (done, overtaken): (Vec<u32>, Vec<u32>) = rows.iter().partition(|&&row| held.contains(id(row)));
    let Some((first, last)) = bounds(prepared, &done) else {
        return Ok(Moved { overtaken, ..Moved::default() });
    };
    let done_ids: Vec<&str> = done.iter().map(|&row| id(row)).collect();
    let statuses: Vec<&str> = done.iter().map(|&row| prepared.row(row).status.as_str()).collect();
    let moved =
        transaction.query(include_str!("move_statuses.sql"), &[&done_ids, &statuses, &first, &last]).await?;
    // What was converted when the row came is what moves now.
    let settled = moved
        .iter()
        .filter_map(|row| {
            let account_amount = row.get::<_, Option<&str>>(1)?.parse().ok()?;
            Some(Settled { row: prepared.find(row.get(0))?, account_amount })
        })
        .collect();
    transaction
        .execute("UPDATE transaction_keys SET pending = false WHERE transaction_id = ANY ($1)", &[&done_ids])
        .await?;
    if source.name == "upload" {
        transaction
            .execute(
                "INSERT INTO upload_moves (upload_id, transaction_id) SELECT $1, unnest($2::text[])",
                &[&source.id, &done_ids],
            )
            .await?;
    }
    Ok(Moved { done, overtaken, settled })
}
