//! Counting totals anew that rows have left because their status moved: minima and maxima cannot be
//! subtracted. The totals are held first, so a concurrent load adds its own after this one's commit.

use super::{
    instant::{date_of, day_of},
    prepared::Prepared,
    versions::text,
};
use crate::summaries::kept::{self, CLIENT_TOTALS, DAY_TOTALS, Kept, MERCHANT_DAYS};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use tokio_postgres::{Error, Transaction, types::ToSql};

/// Counts the days' pending totals anew that `moved` rows left.
pub(super) async fn recount_pending_days(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    moved: &[u32],
    zone: Tz,
) -> Result<(), Error> {
    if moved.is_empty() {
        return Ok(());
    }
    let keys = moved.iter().map(|&row| prepared.row(row));
    let mut keys: Vec<(NaiveDate, &str, &str)> = keys
        .map(|row| (date_of(day_of(row.occurred_us, zone)), text(&row.currency), row.kind.as_str()))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let days: Vec<NaiveDate> = keys.iter().map(|key| key.0).collect();
    let currencies: Vec<&str> = keys.iter().map(|key| key.1).collect();
    let kinds: Vec<&str> = keys.iter().map(|key| key.2).collect();
    let recount = Recount {
        kept: &DAY_TOTALS,
        keys: "SELECT day, currency, kind, 'pending'::text AS status
               FROM unnest($1::date[], $2::text[], $3::text[]) AS k (day, currency, kind)",
        rows: "keys k JOIN transactions t ON k.day = (t.occurred_at AT TIME ZONE :zone)::date
                                         AND k.currency = t.currency AND k.kind = t.kind AND k.status = t.status",
        within: "t.status = 'pending' AND t.occurred_at >= $4::date::timestamp AT TIME ZONE :zone
                 AND t.occurred_at < ($5::date + 1)::timestamp AT TIME ZONE :zone",
        zone,
    };
    recount.hold(transaction, &[&days, &currencies, &kinds]).await?;
    recount.count(transaction, &[&days, &currencies, &kinds, &days[0], &days[days.len() - 1]]).await
}

/// Counts the merchants' days anew that `failed` rows left.
pub(super) async fn recount_merchants(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    failed: &[u32],
    zone: Tz,
) -> Result<(), Error> {
    let mut keys: Vec<(&str, NaiveDate, &str, &str)> = failed
        .iter()
        .filter_map(|&row| {
            let row = prepared.row(row);
            let merchant = text(row.merchant_id?.of(&prepared.batch.text));
            Some((merchant, date_of(day_of(row.occurred_us, zone)), text(&row.currency), row.kind.as_str()))
        })
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let Some(first) = keys.iter().map(|key| key.1).min() else { return Ok(()) };
    let last = keys.iter().map(|key| key.1).max().unwrap_or(first);
    let merchants: Vec<&str> = keys.iter().map(|key| key.0).collect();
    let days: Vec<NaiveDate> = keys.iter().map(|key| key.1).collect();
    let currencies: Vec<&str> = keys.iter().map(|key| key.2).collect();
    let kinds: Vec<&str> = keys.iter().map(|key| key.3).collect();
    let recount = Recount {
        kept: &MERCHANT_DAYS,
        keys: "SELECT * FROM unnest($1::text[], $2::date[], $3::text[], $4::text[])
                             AS k (merchant_id, day, currency, kind)",
        rows: "keys k JOIN transactions t ON k.merchant_id = t.merchant_id AND k.currency = t.currency
                                         AND k.kind = t.kind AND k.day = (t.occurred_at AT TIME ZONE :zone)::date",
        within: "t.occurred_at >= $5::date::timestamp AT TIME ZONE :zone
                 AND t.occurred_at < ($6::date + 1)::timestamp AT TIME ZONE :zone",
        zone,
    };
    recount.hold(transaction, &[&merchants, &days, &currencies, &kinds]).await?;
    recount.count(transaction, &[&merchants, &days, &currencies, &kinds, &first, &last]).await
}

/// Counts the clients' totals anew that `failed` rows left.
pub(super) async fn recount_clients(
    transaction: &Transaction<'_>,
    prepared: &Prepared,
    failed: &[u32],
    zone: Tz,
) -> Result<(), Error> {
    if failed.is_empty() {
        return Ok(());
    }
    let mut keys: Vec<(&str, &str)> = failed
        .iter()
        .map(|&row| prepared.row(row))
        .map(|row| (text(row.client_id.of(&prepared.batch.text)), text(&row.currency)))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let clients: Vec<&str> = keys.iter().map(|key| key.0).collect();
    let currencies: Vec<&str> = keys.iter().map(|key| key.1).collect();
    let recount = Recount {
        kept: &CLIENT_TOTALS,
        keys: "SELECT * FROM unnest($1::text[], $2::text[]) AS k (client_id, currency)",
        rows: "keys k JOIN transactions t ON k.client_id = t.client_id AND k.currency = t.currency",
        within: "t.occurred_at BETWEEN $3 AND $4",
        zone,
    };
    recount.hold(transaction, &[&clients, &currencies]).await?;
    // Their first and last bound what must be read; now that they are held, both are of this moment.
    let bounds = transaction
        .query_one(
            "SELECT min(t.first_at), max(t.last_at) FROM client_totals t
             JOIN unnest($1::text[], $2::text[]) AS k (id, c) ON t.client_id = k.id AND t.currency = k.c",
            &[&clients, &currencies],
        )
        .await?;
    let (first, last): (Option<DateTime<Utc>>, Option<DateTime<Utc>>) = (bounds.get(0), bounds.get(1));
    recount.count(transaction, &[&clients, &currencies, &first, &last]).await
}

/// Totals that are counted anew.
struct Recount {
    kept: &'static Kept,
    /// A query of their keys.
    keys: &'static str,
    /// A FROM clause of `keys` with their rows.
    rows: &'static str,
    /// What those are read within.
    within: &'static str,
    zone: Tz,
}

impl Recount {
    /// Locks them in the order of their keys.
    async fn hold(&self, transaction: &Transaction<'_>, keys: &[&(dyn ToSql + Sync)]) -> Result<(), Error> {
        transaction.execute(&self.kept.hold_keys(self.keys), keys).await.map(drop)
    }

    async fn count(&self, transaction: &Transaction<'_>, all: &[&(dyn ToSql + Sync)]) -> Result<(), Error> {
        let counted = self.kept.totals(self.rows, self.within);
        let statement = kept::in_zone(&self.kept.overwrite(self.keys, &counted, "true", false), self.zone);
        transaction.execute(&statement, all).await.map(drop)
    }
}
