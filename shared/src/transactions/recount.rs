//! Taking rows out of totals because their status moved. Counts and sums are subtracted; minima and maxima cannot
//! be: where one may have left, the total is counted anew. The totals are held first, so a concurrent load adds its
//! own after this one's commit.

use super::{groups::Groups, instant::date_of, instant::day_of, parse::Row};
use crate::{
    db::LoadTransaction,
    summaries::kept::{self, CLIENT_TOTALS, DAY_TOTALS, Kept, MERCHANT_DAYS},
};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use tokio_postgres::{Error, types::ToSql};

/// Takes rows out of the days' pending totals.
pub(super) async fn leave_pending_days(
    transaction: &LoadTransaction<'_>,
    moved: &[&Row],
    zone: Tz,
) -> Result<(), Error> {
    let groups = super::groups::days(moved.iter().copied(), Some("pending"), zone);
    let (Some(groups), Some((first, last))) = (groups, days(moved, zone)) else { return Ok(()) };
    let leaving = Leaving {
        kept: &DAY_TOTALS,
        groups,
        rows: "keys k JOIN transactions t ON k.day = (t.occurred_at AT TIME ZONE :zone)::date
                                         AND k.currency = t.currency AND k.kind = t.kind AND k.status = t.status",
        within: "t.status = 'pending' AND t.occurred_at >= $9::date::timestamp AT TIME ZONE :zone
                 AND t.occurred_at < ($10::date + 1)::timestamp AT TIME ZONE :zone",
        zone,
    };
    leaving.hold(transaction).await?;
    leaving.leave(transaction, &[&first, &last]).await
}

/// Takes rows out of the merchants' days.
pub(super) async fn leave_merchants(
    transaction: &LoadTransaction<'_>,
    groups: Option<Groups<'_>>,
    failed: &[&Row],
    zone: Tz,
) -> Result<(), Error> {
    let (Some(groups), Some((first, last))) = (groups, days(failed, zone)) else { return Ok(()) };
    let leaving = Leaving {
        kept: &MERCHANT_DAYS,
        groups,
        rows: "keys k JOIN transactions t ON k.merchant_id = t.merchant_id AND k.currency = t.currency
                                         AND k.kind = t.kind AND k.day = (t.occurred_at AT TIME ZONE :zone)::date",
        within: "t.occurred_at >= $9::date::timestamp AT TIME ZONE :zone
                 AND t.occurred_at < ($10::date + 1)::timestamp AT TIME ZONE :zone",
        zone,
    };
    leaving.hold(transaction).await?;
    leaving.leave(transaction, &[&first, &last]).await
}

/// Takes rows out of the clients' totals.
pub(super) async fn leave_clients(
    transaction: &LoadTransaction<'_>,
    groups: Option<Groups<'_>>,
    zone: Tz,
) -> Result<(), Error> {
    let Some(groups) = groups else { return Ok(()) };
    let leaving = Leaving {
        kept: &CLIENT_TOTALS,
        groups,
        rows: "keys k JOIN transactions t ON k.client_id = t.client_id AND k.currency = t.currency",
        within: "t.occurred_at BETWEEN $12 AND $13",
        zone,
    };
    leaving.hold(transaction).await?;
    // Their first and last bound what must be read; now that they are held, both are of this moment.
    let bounds = transaction
        .query_one(
            "SELECT min(t.first_at), max(t.last_at) FROM client_totals t
             JOIN unnest($1::text[], $2::text[]) AS k (id, c) ON t.client_id = k.id AND t.currency = k.c",
            &leaving.groups.columns()[..2],
        )
        .await?;
    let (first, last): (Option<DateTime<Utc>>, Option<DateTime<Utc>>) = (bounds.get(0), bounds.get(1));
    leaving.leave(transaction, &[&first, &last]).await
}

/// The first and the last day of some rows.
fn days(rows: &[&Row], zone: Tz) -> Option<(NaiveDate, NaiveDate)> {
    let days = || rows.iter().map(|row| date_of(day_of(row.occurred_us, zone)));
    Some((days().min()?, days().max()?))
}

/// Rows that leave totals.
struct Leaving<'g> {
    kept: &'static Kept,
    groups: Groups<'g>,
    /// A FROM clause of the totals' `keys` with the rows that are left.
    rows: &'static str,
    /// What those are read within: parameters after those of the groups.
    within: &'static str,
    zone: Tz,
}

impl Leaving<'_> {
    /// Locks the totals in the order of their keys.
    async fn hold(&self, transaction: &LoadTransaction<'_>) -> Result<(), Error> {
        let keys = format!("SELECT {} FROM ({}) AS g", self.kept.key(), self.groups.query);
        transaction.execute(&self.kept.hold_keys(&keys), &self.groups.columns()).await.map(drop)
    }

    async fn leave(
        &self,
        transaction: &LoadTransaction<'_>,
        within: &[&(dyn ToSql + Sync)],
    ) -> Result<(), Error> {
        let counted = self.kept.totals(self.rows, self.within);
        let statement = kept::in_zone(&self.kept.leave(self.groups.query, &counted), self.zone);
        let mut parameters = self.groups.columns();
        parameters.extend(within);
        transaction.execute(&statement, &parameters).await.map(drop)
    }
}
