//! What transactions tell about clients and merchants: statistics, risk, trends, averages, rankings. Everything
//! is exact at the commit that it is read at, by currency (amounts of two are never added), and leaves out
//! what failed.
//!
//! Spend is what was bought and paid (`buy`, `payment`); what was sold and refunded is gained and makes no spend
//! smaller, except for those who ask for it net. All other figures are of the amounts of every kind. What service B
//! asked for (`between`) is of every status.

pub mod arithmetic;
pub mod between;
pub mod model;
pub mod queries;
pub mod reads;
pub mod service;
pub mod tops;

pub use model::{
    AmountStatistics, ClientDays, CurrencyRisk, RiskProfile, Spend, SpendDay, SpendTrend, TradesSummary,
};
pub use reads::ClientReads;
pub use service::KeptAnswers;
