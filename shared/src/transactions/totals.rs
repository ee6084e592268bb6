//! Bringing the summaries up to date with what a load changed. New rows are added as sums of the
//! batch, in key order; what a total is says `summaries::kept`. Where a row leaves a total (its status
//! moved), that total is counted anew (`recount`).

use super::{
    copy::CopyWriter,
    instant::{date_of, day_of},
    model::{TransactionKind, TransactionStatus},
    parse::{CurrencyCode, Row},
    prepared::Prepared,
    recount::{recount_clients, recount_merchants, recount_pending_days},
    versions::text,
};
use crate::{
    money::units_to_text,
    summaries::kept::{CLIENT_FAILURES, CLIENT_TOTALS, DAY_TOTALS, MERCHANT_DAYS},
};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use ethnum::U256;
use std::{collections::BTreeMap, collections::HashMap};
use tokio_postgres::{Error, Transaction};

/// Sums of some rows; amounts in units.
#[derive(Debug, Clone, Copy)]
struct Sums {
    count: i64,
    sum: i128,
    min: i128,
    max: i128,
}

impl Sums {
    const NONE: Self = Self { count: 0, sum: 0, min: i128::MAX, max: i128::MIN };

    fn of<'r>(rows: impl Iterator<Item = &'r Row>) -> Self {
        let mut sums = Self::NONE;
        rows.for_each(|row| sums.add(row.amount));
        sums
    }

    fn add(&mut self, amount: i128) {
        self.count += 1;
        self.sum += amount;
        self.min = self.min.min(amount);
        self.max = self.max.max(amount);
    }
}

/// What is kept of a client's rows in one currency besides [`Sums`].
#[derive(Debug, Clone, Copy)]
struct ClientSums {
    spent: i128,
    squares: U256,
    first_us: i64,
    last_us: i64,
}

impl ClientSums {
    fn of<'r>(rows: impl Iterator<Item = &'r Row>) -> Self {
        let mut totals = Self { spent: 0, squares: U256::ZERO, first_us: i64::MAX, last_us: i64::MIN };
        for row in rows {
            if matches!(row.kind, TransactionKind::Buy | TransactionKind::Payment) {
                totals.spent += row.amount;
            }
            let amount = U256::from(row.amount.unsigned_abs());
            totals.squares += amount * amount;
            totals.first_us = totals.first_us.min(row.occurred_us);
            totals.last_us = totals.last_us.max(row.occurred_us);
        }
        totals
    }
}

/// What failed of a client's rows.
#[derive(Debug, Clone, Copy)]
struct Failures {
    count: i64,
    first_us: i64,
    last_us: i64,
}

type DayKey = (i32, CurrencyCode, &'static str, &'static str);
type MerchantKey<'a> = (&'a [u8], i32, CurrencyCode, &'static str);
type ClientKey<'a> = (&'a [u8], CurrencyCode);

/// Adds `fresh` rows to every summary and moves those in `moved` (recorded as pending before, now
/// with the batch's status) from one total to another. Lock order: merchant_days, client_totals,
/// client_failures, day_totals, each ascending.
pub(super) async fn apply(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    fresh: Vec<u32>,
    moved: Vec<u32>,
    zone: Tz,
) -> Result<(), Error> {
    let failed: Vec<u32> =
        moved.iter().copied().filter(|&row| prepared.row(row).status == TransactionStatus::Failed).collect();
    let counting: Vec<u32> = fresh.iter().copied().filter(|&row| counts(prepared.row(row))).collect();
    add_to_merchants(transaction, prepared, &counting, zone).await?;
    recount_merchants(transaction, prepared, &failed, zone).await?;
    add_to_clients(transaction, prepared, counting).await?;
    recount_clients(transaction, prepared, &failed, zone).await?;
    let failures = fresh.iter().copied().filter(|&row| !counts(prepared.row(row))).chain(failed);
    add_to_failures(transaction, &failures_of(prepared, failures)).await?;
    add_to_days(transaction, &days_of(prepared, fresh.iter().chain(&moved), zone)).await?;
    recount_pending_days(transaction, prepared, &moved, zone).await
}

/// What failed counts only in its day.
fn counts(row: &Row) -> bool {
    row.status != TransactionStatus::Failed
}

/// New rows, and moved ones in their new status, by day.
fn days_of<'r>(prepared: &Prepared, rows: impl Iterator<Item = &'r u32>, zone: Tz) -> Vec<(DayKey, Sums)> {
    let mut days: HashMap<DayKey, Sums> = HashMap::new();
    for &row in rows {
        let row = prepared.row(row);
        let key = (day_of(row.occurred_us, zone), row.currency, row.kind.as_str(), row.status.as_str());
        days.entry(key).or_insert(Sums::NONE).add(row.amount);
    }
    let mut days: Vec<_> = days.into_iter().collect();
    days.sort_unstable_by_key(|(key, _)| *key);
    days
}

fn failures_of(prepared: &Prepared, rows: impl Iterator<Item = u32>) -> Vec<(&str, Failures)> {
    let mut failures: BTreeMap<&str, Failures> = BTreeMap::new();
    for row in rows {
        let row = prepared.row(row);
        let none = Failures { count: 0, first_us: i64::MAX, last_us: i64::MIN };
        let entry = failures.entry(text(row.client_id.of(&prepared.batch.text))).or_insert(none);
        entry.count += 1;
        entry.first_us = entry.first_us.min(row.occurred_us);
        entry.last_us = entry.last_us.max(row.occurred_us);
    }
    failures.into_iter().collect()
}

/// Columns count, sum, min, max of many [`Sums`].
#[derive(Default)]
struct SumColumns {
    count: Vec<i64>,
    sum: Vec<String>,
    min: Vec<String>,
    max: Vec<String>,
}

impl SumColumns {
    fn of<'s>(sums: impl Iterator<Item = &'s Sums>) -> Self {
        let mut columns = Self::default();
        for sums in sums {
            columns.count.push(sums.count);
            columns.sum.push(units_to_text(sums.sum));
            columns.min.push(units_to_text(sums.min));
            columns.max.push(units_to_text(sums.max));
        }
        columns
    }
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

async fn add_to_days(transaction: &Transaction<'_>, additions: &[(DayKey, Sums)]) -> Result<(), Error> {
    if additions.is_empty() {
        return Ok(());
    }
    let days: Vec<NaiveDate> = additions.iter().map(|(key, _)| date_of(key.0)).collect();
    let currencies: Vec<&str> = additions.iter().map(|(key, _)| text(&key.1)).collect();
    let kinds: Vec<&str> = additions.iter().map(|(key, _)| key.2).collect();
    let statuses: Vec<&str> = additions.iter().map(|(key, _)| key.3).collect();
    let sums = SumColumns::of(additions.iter().map(|(_, sums)| sums));
    transaction
        .execute(
            &DAY_TOTALS.add(
                "(SELECT day, currency, kind, status, count, sum::numeric, min::numeric, max::numeric
                  FROM unnest($1::date[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
                              $8::text[]) AS a (day, currency, kind, status, count, sum, min, max)) AS a",
            ),
            &[&days, &currencies, &kinds, &statuses, &sums.count, &sums.sum, &sums.min, &sums.max],
        )
        .await?;
    Ok(())
}
