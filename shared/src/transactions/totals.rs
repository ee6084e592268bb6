//! Bringing the summaries up to date with what a load changed. New rows are added as sums of the
//! batch, in key order; what a total is says `summaries::kept`. Where a row leaves a total (its status
//! moved), it is taken out of it (`recount`).

use super::{
    copy::CopyWriter,
    groups::{self, Groups},
    instant::day_of,
    model::{TransactionKind, TransactionStatus},
    parse::{CurrencyCode, Row},
    prepared::Prepared,
    recount::{leave_clients, leave_merchants, leave_pending_days},
    versions::text,
};
use crate::{
    db::LoadTransaction,
    summaries::kept::{CLIENT_FAILURES, CLIENT_TOTALS, DAY_TOTALS, Kept, MERCHANT_DAYS},
};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use ethnum::U256;
use std::collections::BTreeMap;
use tokio_postgres::{Error, Transaction};

/// Sums of some rows; amounts in units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sums {
    pub count: i64,
    pub sum: i128,
    pub min: i128,
    pub max: i128,
}

impl Sums {
    pub const NONE: Self = Self { count: 0, sum: 0, min: i128::MAX, max: i128::MIN };

    fn of<'r>(rows: impl Iterator<Item = &'r Row>) -> Self {
        let mut sums = Self::NONE;
        rows.for_each(|row| sums.add(row.amount));
        sums
    }

    pub fn add(&mut self, amount: i128) {
        self.count += 1;
        self.sum += amount;
        self.min = self.min.min(amount);
        self.max = self.max.max(amount);
    }
}

/// What is kept of a client's rows in one currency besides [`Sums`].
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientSums {
    pub spent: i128,
    pub squares: U256,
    pub first_us: i64,
    pub last_us: i64,
}

impl ClientSums {
    pub const NONE: Self = Self { spent: 0, squares: U256::ZERO, first_us: i64::MAX, last_us: i64::MIN };

    fn of<'r>(rows: impl Iterator<Item = &'r Row>) -> Self {
        let mut totals = Self::NONE;
        rows.for_each(|row| totals.add(row));
        totals
    }

    pub fn add(&mut self, row: &Row) {
        if matches!(row.kind, TransactionKind::Buy | TransactionKind::Payment) {
            self.spent += row.amount;
        }
        let amount = U256::from(row.amount.unsigned_abs());
        self.squares += amount * amount;
        self.first_us = self.first_us.min(row.occurred_us);
        self.last_us = self.last_us.max(row.occurred_us);
    }
}

/// What failed of a client's rows.
#[derive(Debug, Clone, Copy)]
struct Failures {
    count: i64,
    first_us: i64,
    last_us: i64,
}

type MerchantKey<'a> = (&'a [u8], i32, CurrencyCode, &'static str);
type ClientKey<'a> = (&'a [u8], CurrencyCode);

/// Adds `fresh` rows to every summary and moves those in `moved` (recorded as pending before, now
/// with the batch's status) from one total to another. Lock order: merchant_days, client_totals,
/// client_failures, day_totals, each ascending.
pub(super) async fn apply(
    transaction: &LoadTransaction<'_>,
    prepared: &Prepared,
    fresh: Vec<u32>,
    moved: Vec<u32>,
    zone: Tz,
) -> Result<(), Error> {
    let rows = |rows: &[u32]| rows.iter().map(|&row| prepared.row(row)).collect::<Vec<&Row>>();
    let failed: Vec<&Row> =
        rows(&moved).into_iter().filter(|row| row.status == TransactionStatus::Failed).collect();
    let counting: Vec<u32> = fresh.iter().copied().filter(|&row| counts(prepared.row(row))).collect();
    let (fresh, moved) = (rows(&fresh), rows(&moved));
    if moved.is_empty() && counting.len() == fresh.len() && fresh.len() < FEW {
        return add_few(transaction, prepared, &fresh, zone).await;
    }
    add_to_merchants(transaction, prepared, &counting, zone).await?;
    leave_merchants(transaction, groups::merchants(prepared, failed.iter().copied(), zone), &failed, zone)
        .await?;
    add_to_clients(transaction, prepared, counting).await?;
    leave_clients(transaction, groups::clients(prepared, failed.iter().copied()), zone).await?;
    let failures = fresh.iter().copied().filter(|row| !counts(row)).chain(failed);
    add_to_failures(transaction, &failures_of(prepared, failures)).await?;
    let days = groups::days(fresh.into_iter().chain(moved.iter().copied()), None, zone);
    add(transaction, &DAY_TOTALS, days).await?;
    leave_pending_days(transaction, &moved, zone).await
}

/// Adds few rows, of which none has failed and none was known, without waiting for one answer before the next
/// question: PostgreSQL works them off in their order, which is that of the locks.
async fn add_few(
    transaction: &LoadTransaction<'_>,
    prepared: &Prepared,
    rows: &[&Row],
    zone: Tz,
) -> Result<(), Error> {
    let rows = || rows.iter().copied();
    // Prepared before: who has to prepare first would be overtaken.
    for (kept, query) in
        [(&MERCHANT_DAYS, groups::MERCHANTS), (&CLIENT_TOTALS, groups::CLIENTS), (&DAY_TOTALS, groups::DAYS)]
    {
        transaction.prepared(&addition(kept, query)).await?;
    }
    tokio::try_join!(
        biased;
        add(transaction, &MERCHANT_DAYS, groups::merchants(prepared, rows(), zone)),
        add(transaction, &CLIENT_TOTALS, groups::clients(prepared, rows())),
        add(transaction, &DAY_TOTALS, groups::days(rows(), None, zone)),
    )?;
    Ok(())
}

fn addition(kept: &Kept, query: &str) -> String {
    // An unnested array is read in the order of writing, which is the order of the keys.
    kept.add(&format!("({query}) AS g"))
}

/// Adds totals that are parameters.
async fn add(
    transaction: &LoadTransaction<'_>,
    kept: &Kept,
    groups: Option<Groups<'_>>,
) -> Result<(), Error> {
    let Some(groups) = groups else { return Ok(()) };
    let statement = transaction.prepared(&addition(kept, groups.query)).await?;
    transaction.execute(&statement, &groups.columns()).await.map(drop)
}

/// What failed counts only in its day.
fn counts(row: &Row) -> bool {
    row.status != TransactionStatus::Failed
}

fn failures_of<'p>(prepared: &'p Prepared, rows: impl Iterator<Item = &'p Row>) -> Vec<(&'p str, Failures)> {
    let mut failures: BTreeMap<&str, Failures> = BTreeMap::new();
    for row in rows {
        let none = Failures { count: 0, first_us: i64::MAX, last_us: i64::MIN };
        let entry = failures.entry(text(row.client_id.of(&prepared.batch.text))).or_insert(none);
        entry.count += 1;
        entry.first_us = entry.first_us.min(row.occurred_us);
        entry.last_us = entry.last_us.max(row.occurred_us);
    }
    failures.into_iter().collect()
}

fn instant(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// Writes count, sum, min and max.
fn write_sums(copy: &mut CopyWriter, sums: &Sums) {
    copy.bigint(sums.count);
    copy.units(sums.sum);
    copy.units(sums.min);
    copy.units(sums.max);
}

/// Totals of fewer rows are parameters of one statement; those of more are copied into a table first.
pub(super) const FEW: usize = 1000;
/// So few rows are sorted while nobody waits.
const QUICK: usize = 5000;

/// Some rows with their keys, by key.
fn by_key<K: Ord>(rows: impl Iterator<Item = (K, u32)>) -> Vec<(K, u32)> {
    let mut rows: Vec<(K, u32)> = rows.collect();
    match rows.len() {
        ..QUICK => rows.sort_unstable(),
        _ => tokio::task::block_in_place(|| rows.sort_unstable()),
    }
    rows
}

/// Totals are streamed: the rows are sorted by key, and each group is written as it ends. Nearly every
/// row can be a group of its own, so collecting them would double the memory of a load.
async fn add_to_merchants(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    rows: &[u32],
    zone: Tz,
) -> Result<(), Error> {
    let keyed = rows.iter().filter_map(|&at| {
        let row = prepared.row(at);
        let merchant = row.merchant_id?.of(&prepared.batch.text);
        let key: MerchantKey<'_> = (merchant, day_of(row.occurred_us, zone), row.currency, row.kind.as_str());
        Some((key, at))
    });
    let rows = by_key(keyed);
    if rows.is_empty() {
        return Ok(());
    }
    let statement = "COPY incoming_merchant_days (merchant_id, day, currency, kind, count, sum, min, max) FROM STDIN BINARY";
    let mut copy = CopyWriter::begin(transaction, statement).await?;
    for group in rows.chunk_by(|one, other| one.0 == other.0) {
        let (merchant, day, currency, kind) = group[0].0;
        copy.row(8).await?;
        copy.bytes(merchant);
        copy.day(day);
        copy.bytes(&currency);
        copy.bytes(kind.as_bytes());
        write_sums(&mut copy, &Sums::of(group.iter().map(|&(_, row)| prepared.row(row))));
    }
    copy.finish().await?;
    // A temporary table is read in the order of writing, which is the order of the keys.
    transaction.execute(&MERCHANT_DAYS.add("incoming_merchant_days"), &[]).await?;
    Ok(())
}

async fn add_to_clients(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    rows: Vec<u32>,
) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let keyed = rows.into_iter().map(|at| {
        let row = prepared.row(at);
        let key: ClientKey<'_> = (row.client_id.of(&prepared.batch.text), row.currency);
        (key, at)
    });
    let rows = by_key(keyed);
    let statement =
        "COPY incoming_client_totals (client_id, currency, first_at, last_at, spent, gained, sum_squares,
        count, sum, min, max) FROM STDIN BINARY";
    let mut copy = CopyWriter::begin(transaction, statement).await?;
    for group in rows.chunk_by(|one, other| one.0 == other.0) {
        let (client, currency) = group[0].0;
        let rows = || group.iter().map(|&(_, row)| prepared.row(row));
        let (sums, totals) = (Sums::of(rows()), ClientSums::of(rows()));
        copy.row(11).await?;
        copy.bytes(client);
        copy.bytes(&currency);
        copy.instant(totals.first_us);
        copy.instant(totals.last_us);
        copy.units(totals.spent);
        copy.units(sums.sum - totals.spent);
        copy.squared_units(totals.squares);
        write_sums(&mut copy, &sums);
    }
    copy.finish().await?;
    // As above.
    transaction.execute(&CLIENT_TOTALS.add("incoming_client_totals"), &[]).await?;
    Ok(())
}

async fn add_to_failures(transaction: &Transaction<'_>, additions: &[(&str, Failures)]) -> Result<(), Error> {
    if additions.is_empty() {
        return Ok(());
    }
    let clients: Vec<&str> = additions.iter().map(|(client, _)| *client).collect();
    let counts: Vec<i64> = additions.iter().map(|(_, failures)| failures.count).collect();
    let first: Vec<DateTime<Utc>> =
        additions.iter().map(|(_, failures)| instant(failures.first_us)).collect();
    let last: Vec<DateTime<Utc>> = additions.iter().map(|(_, failures)| instant(failures.last_us)).collect();
    transaction
        .execute(
            &CLIENT_FAILURES.add(
                "unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::timestamptz[])
                     AS a (client_id, count, first_at, last_at)",
            ),
            &[&clients, &counts, &first, &last],
        )
        .await?;
    Ok(())
}
