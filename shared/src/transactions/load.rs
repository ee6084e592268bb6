//! The one way into `transactions`. Keys first: the registry tells which rows are new, only those are
//! copied, and every summary moves with them, all in the caller's transaction. Rows and keys go in
//! sorted, so that parallel loads meet in one order and do not deadlock.

use super::{
    copy::CopyWriter,
    instant::month_of,
    model::TransactionStatus,
    parse::{Batch, Row},
    totals,
};
use crate::{money::units_to_text, uploads::records::Span};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use std::{collections::HashMap, sync::Arc};
use tokio_postgres::{Transaction, error::SqlState};

/// Where rows come from.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// upload, live, trade or synthetic.
    pub name: &'static str,
    /// The upload or trade.
    pub id: uuid::Uuid,
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
    pub updated: i64,
    /// Rows that were there, the same.
    pub duplicates: i64,
    /// Rows that were there, different.
    pub conflicts: Vec<Conflict>,
}

/// Rows in the orders in which they are loaded, with what repeats inside the batch settled: of one
/// id the first line wins.
#[derive(Debug)]
pub struct Prepared {
    /// The rows.
    pub batch: Batch,
    /// One row per id, ascending by id.
    by_id: Vec<u32>,
    /// The same rows by month, client and time.
    by_place: Vec<u32>,
    /// Rows that repeat the id of one of those.
    repeats: Vec<Repeat>,
}

/// A row with the id of an earlier row of the batch.
#[derive(Debug, Clone, Copy)]
struct Repeat {
    first: u32,
    row: u32,
    /// It moved the first row's status from pending.
    moves: bool,
}

impl Prepared {
    /// Sorts a batch and settles its repetitions. Pure work: run it where it may block.
    pub fn new(mut batch: Batch) -> Self {
        let mut by_id: Vec<u32> = (0..u32::try_from(batch.rows.len()).expect("a chunk's rows fit")).collect();
        fn id(batch: &Batch, row: u32) -> &[u8] {
            batch.rows[row as usize].transaction_id.of(&batch.text)
        }
        by_id.sort_by(|&one, &other| id(&batch, one).cmp(id(&batch, other)));
        let mut repeats = Vec::new();
        let mut unique: Vec<u32> = Vec::with_capacity(by_id.len());
        for row in by_id {
            match unique.last() {
                Some(&first) if id(&batch, first) == id(&batch, row) => {
                    let moves = move_within(&mut batch, first as usize, row as usize);
                    repeats.push(Repeat { first, row, moves });
                }
                _ => unique.push(row),
            }
        }
        let mut by_place = unique.clone();
        by_place.sort_by(|&one, &other| {
            let key = |row: u32| {
                let row = &batch.rows[row as usize];
                (month_of(row.occurred_us), row.client_id.of(&batch.text), row.occurred_us)
            };
            key(one).cmp(&key(other))
        });
        Self { batch, by_id: unique, by_place, repeats }
    }

    /// The months of the rows, as their first days, ascending.
    pub fn months(&self) -> Vec<chrono::NaiveDate> {
        let mut months: Vec<i32> =
            self.by_place.iter().map(|&row| month_of(self.row(row).occurred_us)).collect();
        months.dedup();
        let first_day = |month: i32| chrono::NaiveDate::from_ymd_opt(month / 12, month as u32 % 12 + 1, 1);
        months.into_iter().filter_map(first_day).collect()
    }

    /// The clients of the rows, ascending.
    pub fn clients(&self) -> Vec<&str> {
        let mut clients: Vec<&str> =
            self.by_place.iter().map(|&row| text(self.row(row).client_id.of(&self.batch.text))).collect();
        clients.sort_unstable();
        clients.dedup();
        clients
    }

    /// The row with an id.
    fn find(&self, id: &str) -> Option<u32> {
        let found = self
            .by_id
            .binary_search_by(|&row| self.row(row).transaction_id.of(&self.batch.text).cmp(id.as_bytes()));
        found.ok().map(|at| self.by_id[at])
    }

    pub(super) fn row(&self, row: u32) -> &Row {
        &self.batch.rows[row as usize]
    }
}

/// Moves the earlier row's status from pending to the later one's, if they are the same transaction.
fn move_within(batch: &mut Batch, first: usize, later: usize) -> bool {
    let (earlier, row) = (&batch.rows[first], &batch.rows[later]);
    let moves = earlier.content_hash == row.content_hash
        && earlier.status == TransactionStatus::Pending
        && row.status != TransactionStatus::Pending;
    if moves {
        batch.rows[first].status = row.status;
    }
    moves
}

/// Settles the rows that repeat an id of the batch: against what was recorded before, if the id was,
/// else against the batch's first. Returns those in conflict with what was recorded.
fn settle(prepared: &Prepared, recorded: &HashMap<u32, i64>, loaded: &mut Loaded) -> Vec<u32> {
    let batch = &prepared.batch;
    let mut conflicts = Vec::new();
    for repeat in &prepared.repeats {
        let (earlier, row) = (prepared.row(repeat.first), prepared.row(repeat.row));
        match recorded.get(&repeat.first) {
            Some(hash) if *hash == row.content_hash => loaded.duplicates += 1,
            Some(_) => conflicts.push(repeat.row),
            None if earlier.content_hash != row.content_hash => {
                let message = format!(
                    "transaction {} stands on line {} of this file with another content: there {}; here {}",
                    text(row.transaction_id.of(&batch.text)),
                    earlier.line,
                    described(batch, earlier),
                    described(batch, row)
                );
                loaded.conflicts.push(Conflict { row: repeat.row as usize, message });
            }
            None if repeat.moves => loaded.updated += 1,
            None => loaded.duplicates += 1,
        }
    }
    conflicts
}

/// The texts of good rows are UTF-8: parsing refuses others.
pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("parsed fields are UTF-8")
}

fn described(batch: &Batch, row: &Row) -> String {
    let at = DateTime::<Utc>::from_timestamp_micros(row.occurred_us).unwrap_or_default();
    let optional = |span: Option<Span>| span.map(|span| text(span.of(&batch.text)).to_owned());
    let (shares, price) = row.trade.as_ref().map_or((None, None), |trade| (trade.shares, trade.price));
    version(
        &units_to_text(row.amount),
        text(&row.currency),
        row.kind.as_str(),
        text(row.client_id.of(&batch.text)),
        at,
        [
            optional(row.merchant_id),
            optional(row.product_id),
            optional(row.ticker),
            shares.map(units_to_text),
            price.map(units_to_text),
        ],
    )
}

/// One version of a transaction, with all that its hash covers.
fn version(
    amount: &str,
    currency: &str,
    kind: &str,
    client: &str,
    at: DateTime<Utc>,
    details: [Option<String>; 5],
) -> String {
    let at = at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
    let mut said = format!("{kind} of {amount} {currency} by client {client} at {at}");
    for (name, value) in ["merchant", "product", "ticker", "shares", "price"].into_iter().zip(details) {
        if let Some(value) = value {
            said.push_str(&format!(", {name} {value}"));
        }
    }
    said
}

/// Loads a batch within the caller's transaction. Its months and clients must exist
/// (`ensure_months`, `ensure_clients`). Lock order: keys, then summaries in `totals`.
pub async fn load(
    transaction: &Transaction<'_>,
    prepared: &Arc<Prepared>,
    source: Source,
    zone: Tz,
) -> Result<Loaded, tokio_postgres::Error> {
    let mut loaded = Loaded::default();
    if prepared.by_id.is_empty() {
        return Ok(loaded);
    }
    let mut new = vec![true; prepared.batch.rows.len()];
    let (mut moved, mut recorded) = (Vec::new(), HashMap::new());
    if !register_all_keys(transaction, prepared).await? {
        new = register_new_keys(transaction, prepared).await?;
        (moved, recorded) = classify(transaction, prepared, &new, &mut loaded).await?;
    }
    let conflicts = settle(prepared, &recorded, &mut loaded);
    loaded.conflicts.extend(name_conflicts(transaction, prepared, &conflicts).await?);
    let fresh: Vec<u32> = prepared.by_place.iter().copied().filter(|&row| new[row as usize]).collect();
    loaded.inserted = fresh.len() as i64;
    copy_rows(transaction, prepared, &fresh, source).await?;
    let moved = move_statuses(transaction, prepared, moved).await?;
    loaded.updated += moved.done.len() as i64;
    loaded.duplicates += moved.overtaken;
    totals::apply(transaction, prepared, fresh, moved.done, zone).await?;
    Ok(loaded)
}

/// Registers the batch's ids if all of them are new, which is usual, by copying them straight into the
/// registry; else takes that back and returns false. A concurrent load of the same id is awaited here.
async fn register_all_keys(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
) -> Result<bool, tokio_postgres::Error> {
    transaction.batch_execute("SAVEPOINT keys").await?;
    match copy_keys(transaction, prepared, "transaction_keys").await {
        Ok(()) => transaction.batch_execute("RELEASE keys").await.map(|()| true),
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            transaction.batch_execute("ROLLBACK TO keys; RELEASE keys").await.map(|()| false)
        }
        Err(error) => Err(error),
    }
}

/// Registers those of the batch's ids that are new; tells by row which are. A concurrent load of the
/// same id is awaited here.
async fn register_new_keys(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
) -> Result<Vec<bool>, tokio_postgres::Error> {
    copy_keys(transaction, prepared, "incoming_keys").await?;
    // A temporary table is read in the order of writing, which is the order of the ids.
    let registered = transaction
        .query(
            "INSERT INTO transaction_keys SELECT * FROM incoming_keys
             ON CONFLICT (transaction_id) DO NOTHING RETURNING transaction_id",
            &[],
        )
        .await?;
    let mut new = vec![false; prepared.batch.rows.len()];
    for row in registered.iter().filter_map(|row| prepared.find(row.get(0))) {
        new[row as usize] = true;
    }
    Ok(new)
}

async fn copy_keys(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    table: &str,
) -> Result<(), tokio_postgres::Error> {
    let statement = format!(
        "COPY {table} (occurred_at, content_hash, pending, client_id, transaction_id) FROM STDIN BINARY"
    );
    let mut copy = CopyWriter::begin(transaction, &statement).await?;
    let all = &prepared.batch.text;
    for &index in &prepared.by_id {
        let row = prepared.row(index);
        copy.row(5).await?;
        copy.instant(row.occurred_us);
        copy.bigint(row.content_hash);
        copy.boolean(row.status == TransactionStatus::Pending);
        copy.bytes(row.client_id.of(all));
        copy.bytes(row.transaction_id.of(all));
    }
    copy.finish().await?;
    Ok(())
}

/// Tells apart the rows whose ids were registered before: duplicates, conflicts, and those whose status
/// may move, which are returned, with the recorded hash of every known id.
async fn classify(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    new: &[bool],
    loaded: &mut Loaded,
) -> Result<(Vec<u32>, HashMap<u32, i64>), tokio_postgres::Error> {
    let known = transaction
        .query(
            "SELECT i.transaction_id, k.content_hash, k.pending AND NOT i.pending
             FROM incoming_keys i JOIN transaction_keys k USING (transaction_id)",
            &[],
        )
        .await?;
    let (mut moves, mut conflicts, mut recorded) = (Vec::new(), Vec::new(), HashMap::new());
    for row in known {
        let Some(index) = prepared.find(row.get(0)).filter(|&row| !new[row as usize]) else { continue };
        let hash: i64 = row.get(1);
        recorded.insert(index, hash);
        match (hash == prepared.row(index).content_hash, row.get(2)) {
            (false, _) => conflicts.push(index),
            (true, true) => moves.push(index),
            (true, false) => loaded.duplicates += 1,
        }
    }
    loaded.conflicts.extend(name_conflicts(transaction, prepared, &conflicts).await?);
    moves.sort_unstable_by_key(|&row| prepared.row(row).transaction_id.of(&prepared.batch.text));
    Ok((moves, recorded))
}

/// A row of `versions.sql`, for people.
fn recorded(row: &tokio_postgres::Row) -> String {
    let known = |column: usize| row.get::<_, Option<&str>>(column).unwrap_or("?");
    let details = std::array::from_fn(|at| row.get(9 + at));
    let version = version(known(1), known(2), known(3), row.get(4), row.get(5), details);
    match (row.get::<_, Option<&str>>(8), row.get::<_, Option<i32>>(7)) {
        (Some(file), Some(line)) => format!("{version} (from {file:?}, line {line})"),
        _ => format!("{version} (from {})", known(6)),
    }
}

/// Names both versions of each conflicting row.
async fn name_conflicts(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    conflicts: &[u32],
) -> Result<Vec<Conflict>, tokio_postgres::Error> {
    let mut named = Vec::with_capacity(conflicts.len());
    for part in conflicts.chunks(1000) {
        let ids: Vec<&str> =
            part.iter().map(|&row| text(prepared.row(row).transaction_id.of(&prepared.batch.text))).collect();
        let versions = transaction.query(include_str!("versions.sql"), &[&ids]).await?;
        let recorded: HashMap<&str, String> =
            versions.iter().map(|row| (row.get(0), recorded(row))).collect();
        for &row in part {
            let id = text(prepared.row(row).transaction_id.of(&prepared.batch.text));
            let there = recorded.get(id).map_or("?", String::as_str);
            let here = described(&prepared.batch, prepared.row(row));
            let message = format!(
                "transaction {id} is already recorded with another content: recorded {there}; here {here}"
            );
            named.push(Conflict { row: row as usize, message });
        }
    }
    Ok(named)
}

async fn copy_rows(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    rows: &[u32],
    source: Source,
) -> Result<(), tokio_postgres::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut copy = CopyWriter::begin(
        transaction,
        "COPY transactions (occurred_at, amount, shares, price, source_id, source_line, transaction_id,
             client_id, merchant_id, product_id, kind, ticker, stock_name, currency, status, channel, source)
         FROM STDIN BINARY",
    )
    .await?;
    let all = &prepared.batch.text;
    for &index in rows {
        let row = prepared.row(index);
        let optional = |span: Option<Span>| span.map(|span| span.of(all));
        copy.row(17).await?;
        copy.instant(row.occurred_us);
        copy.units(row.amount);
        copy.optional_units(row.trade.as_ref().and_then(|trade| trade.shares));
        copy.optional_units(row.trade.as_ref().and_then(|trade| trade.price));
        copy.uuid(source.id);
        copy.integer(i32::try_from(row.line).unwrap_or(i32::MAX));
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
struct Moved {
    done: Vec<u32>,
    /// Rows that another load had moved before this one held the key.
    overtaken: i64,
}

/// Moves the statuses of recorded rows from pending to what the batch says.
async fn move_statuses(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    rows: Vec<u32>,
) -> Result<Moved, tokio_postgres::Error> {
    if rows.is_empty() {
        return Ok(Moved { done: rows, overtaken: 0 });
    }
    let ids: Vec<&str> =
        rows.iter().map(|&row| text(prepared.row(row).transaction_id.of(&prepared.batch.text))).collect();
    let held: std::collections::HashSet<String> = transaction
        .query(
            "SELECT transaction_id FROM transaction_keys WHERE transaction_id = ANY ($1) AND pending
             ORDER BY transaction_id FOR NO KEY UPDATE",
            &[&ids],
        )
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let done: Vec<u32> = rows
        .iter()
        .copied()
        .filter(|&row| held.contains(text(prepared.row(row).transaction_id.of(&prepared.batch.text))))
        .collect();
    let (mut done_ids, mut statuses, mut first, mut last) = (Vec::new(), Vec::new(), i64::MAX, i64::MIN);
    for &row in &done {
        let row = prepared.row(row);
        done_ids.push(text(row.transaction_id.of(&prepared.batch.text)));
        statuses.push(row.status.as_str());
        first = first.min(row.occurred_us);
        last = last.max(row.occurred_us);
    }
    let instant = |micros| DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or_default();
    transaction
        .execute(
            "UPDATE transactions t SET status = m.status
             FROM unnest($1::text[], $2::text[]) AS m (id, status), transaction_keys k
             WHERE k.transaction_id = m.id AND t.transaction_id = m.id AND t.client_id = k.client_id
               AND t.occurred_at = k.occurred_at AND t.occurred_at BETWEEN $3 AND $4",
            &[&done_ids, &statuses, &instant(first), &instant(last)],
        )
        .await?;
    transaction
        .execute("UPDATE transaction_keys SET pending = false WHERE transaction_id = ANY ($1)", &[&done_ids])
        .await?;
    Ok(Moved { overtaken: (rows.len() - done.len()) as i64, done })
}
