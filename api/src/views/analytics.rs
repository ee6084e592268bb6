//! Figures of clients and merchants as JSON. Amounts and means have four decimals; what failed counts nowhere.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use shared::{
    analytics::{
        AmountStatistics, CurrencyRisk, RiskProfile, SpendDay, SpendTrend, TradesSummary,
        arithmetic::{self, SCALE},
        tops::{Breakdown, TopClient, TopMerchant},
    },
    summaries::PeriodTotal,
};
use utoipa::ToSchema;

/// Decimals of a volatility.
pub const VOLATILITY_SCALE: u32 = 4;

/// A client's amounts in a range.
#[derive(Debug, Serialize, ToSchema)]
pub struct StatisticsView {
    /// The client.
    pub client_id: String,
    /// By currency; empty if there are none in the range.
    pub currencies: Vec<AmountsView>,
}

/// Amounts in one currency, of every kind unless `kind` says which.
#[derive(Debug, Serialize, ToSchema)]
pub struct AmountsView {
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
    /// `sum / count`, rounded half to even.
    pub mean: Decimal,
}

impl From<AmountStatistics> for AmountsView {
    fn from(amounts: AmountStatistics) -> Self {
        let mean = amounts.mean();
        let AmountStatistics { currency, count, sum, min, max } = amounts;
        Self { currency, count, sum, min, max, mean }
    }
}

/// What a client's behaviour is like, since its first transaction.
#[derive(Debug, Serialize, ToSchema)]
pub struct RiskProfileView {
    /// The client.
    pub client_id: String,
    /// The shortest time between two transactions that follow each other, in whatever currencies, in minutes;
    /// null with fewer than two.
    #[schema(value_type = Option<String>, example = "1500.0000")]
    pub shortest_gap_minutes: Option<Decimal>,
    /// By currency; empty without transactions.
    pub currencies: Vec<CurrencyRiskView>,
}

impl RiskProfileView {
    /// The view of a client's profile; of one currency, if it is given.
    pub fn new(client_id: String, profile: RiskProfile, currency: Option<&str>) -> Self {
        let shortest_gap_minutes = profile.shortest_gap_minutes(SCALE);
        let wanted = |risk: &CurrencyRisk| currency.is_none_or(|currency| risk.currency == currency);
        let currencies = profile.currencies.into_iter().filter(wanted).map(Into::into).collect();
        Self { client_id, shortest_gap_minutes, currencies }
    }
}

/// A client's behaviour in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrencyRiskView {
    /// ISO 4217 code.
    pub currency: String,
    /// How many transactions, of every kind.
    pub count: i64,
    /// Buys and payments, added.
    pub lifetime_spend: Decimal,
    /// The dense rank of the lifetime spend among all clients with transactions in this currency: 1 has the
    /// largest, equal spends share a rank.
    pub rank: i64,
    /// Standard deviation (of the population) over the mean, of the amounts of every kind; four decimals,
    /// rounded half to even.
    pub volatility: Decimal,
    /// The largest amount, of every kind.
    pub largest: Decimal,
}

impl From<CurrencyRisk> for CurrencyRiskView {
    fn from(risk: CurrencyRisk) -> Self {
        let CurrencyRisk { currency, count, spend, rank, volatility, largest } = risk;
        Self { currency, count, lifetime_spend: spend, rank, volatility, largest }
    }
}

/// What a client spent, day by day.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpendTrendView {
    /// The client.
    pub client_id: String,
    /// By currency; empty if there is nothing in the range.
    pub currencies: Vec<CurrencyTrendView>,
}

/// What a client spent in one currency, every day from its first to its last transaction in it.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrencyTrendView {
    /// ISO 4217 code.
    pub currency: String,
    /// The days, without gaps, the earliest first.
    pub days: Vec<SpendDayView>,
}

impl From<SpendTrend> for CurrencyTrendView {
    fn from(trend: SpendTrend) -> Self {
        Self { currency: trend.currency, days: trend.days.iter().map(Into::into).collect() }
    }
}

/// One day.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpendDayView {
    /// In the reporting zone.
    pub day: NaiveDate,
    /// Buys and payments, added.
    pub spent: Decimal,
    /// The mean of this and the up to six days before it, also of those before the range; rounded half to
    /// even.
    pub average_7d: Decimal,
}

impl From<&SpendDay> for SpendDayView {
    fn from(day: &SpendDay) -> Self {
        Self { day: day.day, spent: day.spend, average_7d: day.average() }
    }
}

/// A client's buys and sells, as of the last refresh of the clients' summary.
#[derive(Debug, Serialize, ToSchema)]
pub struct TradesSummaryView {
    /// The client.
    pub client_id: String,
    /// When the figures were true; null if that is not known.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// By currency; empty without transactions.
    pub currencies: Vec<CurrencyTradesView>,
}

/// Buys and sells in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrencyTradesView {
    /// ISO 4217 code.
    pub currency: String,
    /// How many transactions, of every kind.
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

impl From<TradesSummary> for CurrencyTradesView {
    fn from(trades: TradesSummary) -> Self {
        let TradesSummary { currency, total_transactions, buys, sells, total_spent, total_gained } = trades;
        Self { currency, total_transactions, buys, sells, total_spent, total_gained }
    }
}

/// Averages by day: a page of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct AveragesView {
    /// The first day: the one that was asked for, or the earliest transaction's; null without any.
    pub from: Option<NaiveDate>,
    /// The last day: the one that was asked for, or the latest transaction's; null without any.
    pub to: Option<NaiveDate>,
    /// The days with transactions, the earliest first; a row for each currency.
    pub items: Vec<AverageView>,
    /// Cursor of the next page, if there is one.
    pub next: Option<String>,
    /// Cursor of the previous page, if there is one.
    pub previous: Option<String>,
}

/// The average amount of one day, in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct AverageView {
    /// In the reporting zone.
    pub day: NaiveDate,
    /// ISO 4217 code.
    pub currency: String,
    /// How many transactions, of every kind.
    pub count: i64,
    /// Their amounts, added.
    pub sum: Decimal,
    /// `sum / count`, rounded half to even.
    pub average: Decimal,
}

impl From<&PeriodTotal> for AverageView {
    fn from(total: &PeriodTotal) -> Self {
        Self {
            day: total.period,
            currency: total.currency.clone(),
            count: total.count,
            sum: total.sum,
            average: arithmetic::mean(total.sum, total.count),
        }
    }
}

/// The merchants with the most, the first first.
#[derive(Debug, Serialize, ToSchema)]
pub struct TopMerchantsView {
    /// The currency of all of it.
    pub currency: String,
    /// The merchants.
    pub items: Vec<TopMerchantView>,
}

/// A merchant.
#[derive(Debug, Serialize, ToSchema)]
pub struct TopMerchantView {
    /// The merchant.
    pub merchant_id: String,
    /// How many transactions, of every kind.
    pub count: i64,
    /// Their amounts, added.
    pub sum: Decimal,
}

impl From<&TopMerchant> for TopMerchantView {
    fn from(top: &TopMerchant) -> Self {
        Self { merchant_id: top.merchant_id.clone(), count: top.count, sum: top.sum }
    }
}

/// The clients with the most since their first transaction, the first first.
#[derive(Debug, Serialize, ToSchema)]
pub struct TopClientsView {
    /// The currency of all of it.
    pub currency: String,
    /// The clients.
    pub items: Vec<TopClientView>,
}

/// A client.
#[derive(Debug, Serialize, ToSchema)]
pub struct TopClientView {
    /// The client.
    pub client_id: String,
    /// Its name, if known.
    pub name: Option<String>,
    /// How many transactions, of every kind.
    pub count: i64,
    /// Buys and payments, added.
    pub spent: Decimal,
    /// Sells and refunds, added.
    pub gained: Decimal,
}

impl From<TopClient> for TopClientView {
    fn from(top: TopClient) -> Self {
        let TopClient { client_id, name, count, spent, gained } = top;
        Self { client_id, name, count, spent, gained }
    }
}

/// What there is of one kind in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct BreakdownView {
    /// ISO 4217 code.
    pub currency: String,
    /// buy, sell, payment or refund.
    pub kind: String,
    /// How many.
    pub count: i64,
    /// Their amounts, added.
    pub sum: Decimal,
    /// The smallest.
    pub min: Decimal,
    /// The largest.
    pub max: Decimal,
    /// `sum / count`, rounded half to even.
    pub mean: Decimal,
}

impl From<&Breakdown> for BreakdownView {
    fn from(part: &Breakdown) -> Self {
        Self {
            currency: part.currency.clone(),
            kind: part.kind.clone(),
            count: part.count,
            sum: part.sum,
            min: part.min,
            max: part.max,
            mean: part.mean(),
        }
    }
}
