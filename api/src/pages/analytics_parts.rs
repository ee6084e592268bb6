//! The rows of the analytics page.

use super::{fmt, pieces::Money};
use shared::{
    analytics::{
        arithmetic::mean,
        tops::{Breakdown, TopClient, TopMerchant},
    },
    summaries::PeriodTotal,
};

/// What all that is looked at comes to.
pub(super) struct Amounts {
    pub count: String,
    pub sum: Money,
    pub mean: Money,
    pub smallest: Money,
    pub largest: Money,
}

impl Amounts {
    /// The periods added; `None` if there are none. They are of one currency.
    pub fn of(periods: &[PeriodTotal], currency: &str) -> Option<Self> {
        let count = periods.iter().map(|one| one.count).sum();
        let sum = periods.iter().map(|one| one.sum).sum();
        Some(Self {
            count: fmt::count(count),
            sum: Money::new(sum, currency),
            mean: Money::new(mean(sum, count), currency),
            smallest: Money::new(periods.iter().map(|one| one.min).min()?, currency),
            largest: Money::new(periods.iter().map(|one| one.max).max()?, currency),
        })
    }
}

/// One kind in one currency.
pub(super) struct KindRow {
    pub key: String,
    pub currency: String,
    pub kind: String,
    pub count: String,
    pub sum: Money,
    pub mean: Money,
    pub smallest: Money,
    pub largest: Money,
}

/// Rows by currency and kind.
pub(super) fn kind_rows(parts: &[Breakdown]) -> Vec<KindRow> {
    let row = |part: &Breakdown| KindRow {
        key: format!("{} {}", part.currency, part.kind),
        currency: part.currency.clone(),
        kind: part.kind.clone(),
        count: fmt::count(part.count),
        sum: Money::new(part.sum, &part.currency),
        mean: Money::new(part.mean(), &part.currency),
        smallest: Money::new(part.min, &part.currency),
        largest: Money::new(part.max, &part.currency),
    };
    parts.iter().map(row).collect()
}

/// A merchant of the ranking.
pub(super) struct MerchantRow {
    pub id: String,
    pub count: String,
    pub sum: Money,
}

impl MerchantRow {
    /// The row of a merchant.
    pub fn new(row: &TopMerchant, currency: &str) -> Self {
        Self {
            id: fmt::cut(&row.merchant_id, 80),
            count: fmt::count(row.count),
            sum: Money::new(row.sum, currency),
        }
    }
}

/// A client of the ranking.
pub(super) struct ClientRow {
    pub id: String,
    pub href: String,
    pub name: String,
    pub count: String,
    pub spent: Money,
}

impl ClientRow {
    /// The row of a client.
    pub fn new(row: &TopClient, currency: &str) -> Self {
        Self {
            href: format!("/ui/clients/{}", super::segment(&row.client_id)),
            id: row.client_id.clone(),
            name: row.name.as_deref().map(|name| fmt::cut(name, 80)).unwrap_or_default(),
            count: fmt::count(row.count),
            spent: Money::new(row.spent, currency),
        }
    }
}
