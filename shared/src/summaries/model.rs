//! Totals over periods.

use chrono::{Days, Months, NaiveDate};
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
        /// An ISO week, from Monday.
        Weekly = "weekly",
        /// A calendar month.
        Monthly = "monthly",
    }
}

impl SummaryMode {
    /// The period's word in SQL.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Daily => "day",
            Self::Weekly => "week",
            Self::Monthly => "month",
        }
    }

    /// The last day of the period that begins at `first`.
    pub fn last_day(self, first: NaiveDate) -> NaiveDate {
        let next = match self {
            Self::Daily => return first,
            Self::Weekly => first.checked_add_days(Days::new(7)),
            Self::Monthly => first.checked_add_months(Months::new(1)),
        };
        next.and_then(|day| day.pred_opt()).unwrap_or(first)
    }

    /// The period's name: `2026-01-05`, `2026-W02`, `2026-01`.
    pub fn key(self, first: NaiveDate) -> String {
        let format = match self {
            Self::Daily => "%Y-%m-%d",
            Self::Weekly => "%G-W%V",
            Self::Monthly => "%Y-%m",
        };
        first.format(format).to_string()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_named_and_end_as_calendars_say() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        assert_eq!(SummaryMode::Weekly.key(day("2024-12-30")), "2025-W01");
        assert_eq!(SummaryMode::Weekly.last_day(day("2024-12-30")), day("2025-01-05"));
        assert_eq!(SummaryMode::Monthly.key(day("2024-02-01")), "2024-02");
        assert_eq!(SummaryMode::Monthly.last_day(day("2024-02-01")), day("2024-02-29"));
        assert_eq!(SummaryMode::Daily.last_day(day("2024-02-29")), day("2024-02-29"));
    }
}
