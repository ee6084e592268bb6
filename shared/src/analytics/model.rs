//! Figures of clients. Amounts have four decimals and are in the `currency` beside them.

use super::arithmetic;
use crate::schema::client_transaction_summary;
use chrono::NaiveDate;
use diesel::prelude::*;
use rust_decimal::Decimal;

/// How spend is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spend {
    /// Buys and payments.
    Gross,
    /// Buys and payments, less sells and refunds.
    Net,
}

/// Amounts in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmountStatistics {
    /// ISO 4217 code.
    pub currency: String,
    /// How many.
    pub count: i64,
    /// All added.
    pub sum: Decimal,
    /// The smallest.
    pub min: Decimal,
    /// The largest.
    pub max: Decimal,
}

impl AmountStatistics {
    /// `sum / count`, half to even.
    pub fn mean(&self) -> Decimal {
        arithmetic::mean(self.sum, self.count)
    }
}

/// What a client's behaviour in one currency is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrencyRisk {
    /// ISO 4217 code.
    pub currency: String,
    /// How many transactions.
    pub count: i64,
    /// Lifetime spend.
    pub spend: Decimal,
    /// Its dense rank among all clients with transactions in this currency; the largest spend has 1.
    pub rank: i64,
    /// Standard deviation of the amounts over their mean, with the decimals that were asked for.
    pub volatility: Decimal,
    /// The largest amount.
    pub largest: Decimal,
}

/// What a client's behaviour is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RiskProfile {
    /// The shortest time between two transactions that follow each other, in any currency, in microseconds;
    /// `None` with fewer than two.
    pub shortest_gap_us: Option<i64>,
    /// By currency; empty without transactions.
    pub currencies: Vec<CurrencyRisk>,
}

impl RiskProfile {
    /// The shortest gap in minutes, half to even.
    pub fn shortest_gap_minutes(&self, scale: u32) -> Option<Decimal> {
        let gap = Decimal::from(self.shortest_gap_us?) / Decimal::from(60_000_000);
        let mut gap = gap.round_dp_with_strategy(scale, rust_decimal::RoundingStrategy::MidpointNearestEven);
        gap.rescale(scale);
        Some(gap)
    }
}

/// One day of a trend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendDay {
    /// In the reporting zone.
    pub day: NaiveDate,
    /// What was spent.
    pub spend: Decimal,
    /// What was spent on this and on the six days before it.
    pub week_spend: Decimal,
    /// How many days that were: fewer than seven at the beginning.
    pub week_days: i64,
}

impl SpendDay {
    /// The moving average, half to even.
    pub fn average(&self) -> Decimal {
        arithmetic::mean(self.week_spend, self.week_days)
    }
}

/// What a client spent in one currency, every day from its first to its last transaction in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendTrend {
    /// ISO 4217 code.
    pub currency: String,
    /// Without gaps.
    pub days: Vec<SpendDay>,
}

/// Days and currency that a client's days are narrowed to.
#[derive(Debug, Clone, Default)]
pub struct ClientDays {
    /// The first day, in the reporting zone.
    pub from: Option<NaiveDate>,
    /// The last day.
    pub to: Option<NaiveDate>,
    /// Only this currency; each by itself if absent.
    pub currency: Option<String>,
}

/// A client's buys and sells in one currency, as of the materialized view's last refresh.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = client_transaction_summary, check_for_backend(diesel::pg::Pg))]
pub struct TradesSummary {
    /// ISO 4217 code.
    pub currency: String,
    /// How many transactions of any kind.
    pub total_transactions: i64,
    /// How many buys.
    pub buys: i64,
    /// How many sells.
    pub sells: i64,
    /// What the buys cost.
    pub total_spent: Decimal,
    /// What the sells brought.
    pub total_gained: Decimal,
}
