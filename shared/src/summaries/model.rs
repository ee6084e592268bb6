//! Totals over periods.

use chrono::NaiveDate;
use diesel::{
    prelude::*,
    sql_types::{BigInt, Date, Numeric, Text},
};
use rust_decimal::Decimal;

text_enum! {
    /// How long a period of a summary is.
    SummaryMode {
        /// A day.
        Daily = "daily",
        /// A week; on which day it begins says the calendar.
        Weekly = "weekly",
        /// A calendar month.
        Monthly = "monthly",
    }
}

/// What was transacted in one period, in one currency. Amounts have four decimals.
#[derive(Debug, Clone, QueryableByName)]
pub struct PeriodTotal {
    /// The period's first day.
    #[diesel(sql_type = Date)]
    pub period: NaiveDate,
    /// ISO 4217 code.
    #[diesel(sql_type = Text)]
    pub currency: String,
    /// How many transactions.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    /// Their amounts, added.
    #[diesel(sql_type = Numeric)]
    pub sum: Decimal,
    /// The smallest.
    #[diesel(sql_type = Numeric)]
    pub min: Decimal,
    /// The largest.
    #[diesel(sql_type = Numeric)]
    pub max: Decimal,
}
