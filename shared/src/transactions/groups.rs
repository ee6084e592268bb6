//! Totals of some rows as columns, by key: parameters of a statement.

use super::{
    copy::Numeric,
    instant::{date_of, day_of},
    parse::Row,
    prepared::Prepared,
    totals::{ClientSums, Sums},
    versions::text,
};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use std::collections::BTreeMap;
use tokio_postgres::types::ToSql;

// Queries of totals, over the columns that are their parameters.
pub(super) const MERCHANTS: &str =
    "SELECT * FROM unnest($1::text[], $2::date[], $3::text[], $4::text[], $5::bigint[], $6::numeric[],
                                      $7::numeric[], $8::numeric[])
                      AS g (merchant_id, day, currency, kind, count, sum, min, max)";
pub(super) const CLIENTS: &str = "SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::numeric[], $5::numeric[], $6::numeric[],
                                      $7::numeric[], $8::numeric[], $9::numeric[], $10::timestamptz[], $11::timestamptz[])
                      AS g (client_id, currency, count, sum, min, max, spent, gained, sum_squares, first_at, last_at)";
pub(super) const DAYS: &str =
    "SELECT * FROM unnest($1::date[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::numeric[],
                                      $7::numeric[], $8::numeric[])
                      AS g (day, currency, kind, status, count, sum, min, max)";

/// Totals of some rows; by key, ascending.
pub(super) struct Groups<'p> {
    /// A query of them, over the parameters.
    pub query: &'static str,
    columns: Vec<Box<dyn ToSql + Sync + Send + 'p>>,
}

impl<'p> Groups<'p> {
    /// The parameters, from the first on.
    pub fn columns(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.columns.iter().map(|column| &**column as &(dyn ToSql + Sync)).collect()
    }

    fn of<K: Ord, V>(
        query: &'static str,
        groups: BTreeMap<K, V>,
        columns: impl FnOnce(Vec<(K, V)>) -> Vec<Box<dyn ToSql + Sync + Send + 'p>>,
    ) -> Option<Self> {
        (!groups.is_empty()).then(|| Self { query, columns: columns(groups.into_iter().collect()) })
    }
}

fn column<'p, T, G>(groups: &[G], value: impl Fn(&G) -> T) -> Box<dyn ToSql + Sync + Send + 'p>
where
    T: ToSql + Sync + Send + 'p,
{
    Box::new(groups.iter().map(value).collect::<Vec<T>>())
}

fn instant(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// By merchant, day, currency and kind.
pub(super) fn merchants<'p>(
    prepared: &'p Prepared,
    rows: impl Iterator<Item = &'p Row>,
    zone: Tz,
) -> Option<Groups<'p>> {
    let all = &prepared.batch.text;
    let mut groups: BTreeMap<(&str, NaiveDate, &str, &str), Sums> = BTreeMap::new();
    for row in rows {
        let Some(merchant) = row.merchant_id else { continue };
        let day = date_of(day_of(row.occurred_us, zone));
        let key = (text(merchant.of(all)), day, text(&row.currency), row.kind.as_str());
        groups.entry(key).or_insert(Sums::NONE).add(row.amount);
    }
    Groups::of(MERCHANTS, groups, |groups| {
        let keys = [column(&groups, |group| group.0.0), column(&groups, |group| group.0.1)];
        let rest = [column(&groups, |group| group.0.2), column(&groups, |group| group.0.3)];
        keys.into_iter().chain(rest).chain(sums(&groups, |group| &group.1)).collect()
    })
}

/// By client and currency.
pub(super) fn clients<'p>(prepared: &'p Prepared, rows: impl Iterator<Item = &'p Row>) -> Option<Groups<'p>> {
    let all = &prepared.batch.text;
    let mut groups: BTreeMap<(&str, &str), (Sums, ClientSums)> = BTreeMap::new();
    for row in rows {
        let key = (text(row.client_id.of(all)), text(&row.currency));
        let group = groups.entry(key).or_insert((Sums::NONE, ClientSums::NONE));
        group.0.add(row.amount);
        group.1.add(row);
    }
    Groups::of(CLIENTS, groups, |groups| {
        let keys = [column(&groups, |group| group.0.0), column(&groups, |group| group.0.1)];
        let rest = [
            column(&groups, |group| Numeric::of(group.1.1.spent)),
            column(&groups, |group| Numeric::of(group.1.0.sum - group.1.1.spent)),
            column(&groups, |group| Numeric::of_squares(group.1.1.squares)),
            column(&groups, |group| instant(group.1.1.first_us)),
            column(&groups, |group| instant(group.1.1.last_us)),
        ];
        keys.into_iter().chain(sums(&groups, |group| &group.1.0)).chain(rest).collect()
    })
}

/// By day, currency, kind and status; `status` stands for the rows' own.
pub(super) fn days<'p>(
    rows: impl Iterator<Item = &'p Row>,
    status: Option<&'static str>,
    zone: Tz,
) -> Option<Groups<'p>> {
    let mut groups: BTreeMap<(NaiveDate, &str, &str, &str), Sums> = BTreeMap::new();
    for row in rows {
        let day = date_of(day_of(row.occurred_us, zone));
        let status = status.unwrap_or(row.status.as_str());
        let key = (day, text(&row.currency), row.kind.as_str(), status);
        groups.entry(key).or_insert(Sums::NONE).add(row.amount);
    }
    Groups::of(DAYS, groups, |groups| {
        let keys = [
            column(&groups, |group| group.0.1),
            column(&groups, |group| group.0.2),
            column(&groups, |group| group.0.3),
        ];
        let days = [column(&groups, |group| group.0.0)];
        days.into_iter().chain(keys).chain(sums(&groups, |group| &group.1)).collect()
    })
}

/// Count, sum, min and max.
fn sums<'p, G>(groups: &[G], of: impl Fn(&G) -> &Sums) -> [Box<dyn ToSql + Sync + Send + 'p>; 4] {
    [
        column(groups, |group| of(group).count),
        column(groups, |group| Numeric::of(of(group).sum)),
        column(groups, |group| Numeric::of(of(group).min)),
        column(groups, |group| Numeric::of(of(group).max)),
    ]
}
