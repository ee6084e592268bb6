//! Totals over periods as JSON.

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

/// What was transacted in one period, in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct SummaryRow {
    /// The period's name: `2026-01-05`, `2026-W02`, `2026-01`; in the Jalali calendar `1404-10-15`, `1404-10`,
    /// and for a week its first day, a Saturday.
    pub key: String,
    /// Its first day, of those asked for.
    pub from: NaiveDate,
    /// Its last day, of those asked for.
    pub to: NaiveDate,
    /// ISO 4217 code.
    pub currency: String,
    /// How many transactions.
    pub count: i64,
    /// Their amounts, added.
    pub sum: Decimal,
    /// The smallest.
    pub min: Decimal,
    /// The largest.
    pub max: Decimal,
    /// `sum` or `count`, as `type` asks.
    pub value: Decimal,
}
