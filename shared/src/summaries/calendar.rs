//! Periods of two calendars. A day is a Gregorian date everywhere in the record; a calendar says which week or
//! month it belongs to, and what that is called.
//!
//! Jalali (solar Hijri) years begin at the spring equinox: six months of 31 days, five of 30, and a last one
//! of 29, or 30 in a leap year. icu's rule equals the astronomical one from 1178 to 3000
//! (test: the_calendars_agree_with_an_independent_library).

use super::model::SummaryMode;
use chrono::{Datelike, Days, Months, NaiveDate, Weekday};
use icu_calendar::{Date, cal::Persian, types::RataDie};
use std::sync::LazyLock;

text_enum! {
    /// Which calendar weeks and months are of.
    Calendar {
        /// Weeks from Monday (ISO 8601).
        Gregorian = "gregorian",
        /// Weeks from Saturday; the calendar of Iran and Afghanistan.
        Jalali = "jalali",
    }
}

impl Calendar {
    /// The first day of the period that `day` belongs to.
    pub fn first_day(self, mode: SummaryMode, day: NaiveDate) -> NaiveDate {
        let back = match (mode, self) {
            (SummaryMode::Daily, _) => 0,
            (SummaryMode::Weekly, Self::Gregorian) => day.weekday().days_since(Weekday::Mon),
            (SummaryMode::Weekly, Self::Jalali) => day.weekday().days_since(Weekday::Sat),
            (SummaryMode::Monthly, Self::Gregorian) => day.day0(),
            (SummaryMode::Monthly, Self::Jalali) => u32::from(jalali(day).day_of_month().0) - 1,
        };
        day.checked_sub_days(Days::new(back.into())).unwrap_or(day)
    }

    /// The last day of the period that begins at `first`.
    pub fn last_day(self, mode: SummaryMode, first: NaiveDate) -> NaiveDate {
        let next = match (mode, self) {
            (SummaryMode::Daily, _) => return first,
            (SummaryMode::Weekly, _) => first.checked_add_days(Days::new(7)),
            (SummaryMode::Monthly, Self::Gregorian) => first.checked_add_months(Months::new(1)),
            (SummaryMode::Monthly, Self::Jalali) => {
                first.checked_add_days(Days::new(jalali(first).days_in_month().into()))
            }
        };
        next.and_then(|day| day.pred_opt()).unwrap_or(first)
    }

    /// The period's name. Gregorian: `2026-01-05`, `2026-W02`, `2026-01`. Jalali: `1404-10-15`, `1404-10`, and
    /// for a week its first day, a Saturday: there is no agreed way to number its weeks.
    pub fn key(self, mode: SummaryMode, first: NaiveDate) -> String {
        let (year, month, day) = match self {
            Self::Gregorian if mode == SummaryMode::Weekly => return first.format("%G-W%V").to_string(),
            Self::Gregorian => (first.year(), first.month(), first.day()),
            Self::Jalali => {
                let date = jalali(first);
                (date.year().extended_year(), date.month().ordinal.into(), date.day_of_month().0.into())
            }
        };
        match mode {
            SummaryMode::Monthly => format!("{year:04}-{month:02}"),
            SummaryMode::Daily | SummaryMode::Weekly => format!("{year:04}-{month:02}-{day:02}"),
        }
    }
}

/// The first days of the Jalali months from 1348 to 1478 (1970 to 2100), in order: SQL knows no such months,
/// and transactions are of no other years.
static JALALI_MONTHS: LazyLock<Vec<NaiveDate>> = LazyLock::new(|| {
    let mut first = Calendar::Jalali
        .first_day(SummaryMode::Monthly, NaiveDate::from_ymd_opt(1970, 1, 1).expect("a day of the calendar"));
    let mut months = Vec::new();
    while first.year() <= 2100 {
        months.push(first);
        first = Calendar::Jalali.last_day(SummaryMode::Monthly, first).succ_opt().expect("a day before 2101");
    }
    months
});

/// The first days of the months that have days from `first` to `last`.
pub(super) fn jalali_months(first: NaiveDate, last: NaiveDate) -> &'static [NaiveDate] {
    let begun = |day: NaiveDate| JALALI_MONTHS.partition_point(|&month| month <= day);
    let from = begun(first).saturating_sub(1);
    &JALALI_MONTHS[from..begun(last).max(from)]
}

fn jalali(day: NaiveDate) -> Date<Persian> {
    Date::from_rata_die(RataDie::new(day.num_days_from_ce().into()), Persian)
}

#[cfg(test)]
mod tests {
    use super::*;
    use SummaryMode::{Daily, Monthly, Weekly};

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn periods_are_named_and_end_as_the_gregorian_calendar_says() {
        let calendar = Calendar::Gregorian;
        assert_eq!(calendar.key(Weekly, day("2024-12-30")), "2025-W01");
        assert_eq!(calendar.first_day(Weekly, day("2025-01-05")), day("2024-12-30"));
        assert_eq!(calendar.last_day(Weekly, day("2024-12-30")), day("2025-01-05"));
        assert_eq!(calendar.key(Monthly, day("2024-02-01")), "2024-02");
        assert_eq!(calendar.last_day(Monthly, day("2024-02-01")), day("2024-02-29"));
        assert_eq!(calendar.last_day(Daily, day("2024-02-29")), day("2024-02-29"));
    }

    #[test]
    fn periods_are_named_and_end_as_the_jalali_calendar_says() {
        let calendar = Calendar::Jalali;
        // 1403 is a leap year: its last month has thirty days.
        assert_eq!(calendar.key(Daily, day("2025-03-20")), "1403-12-30");
        assert_eq!(calendar.key(Daily, day("2025-03-21")), "1404-01-01");
        assert_eq!(calendar.first_day(Monthly, day("2025-03-20")), day("2025-02-19"));
        assert_eq!(calendar.last_day(Monthly, day("2025-02-19")), day("2025-03-20"));
        assert_eq!(calendar.last_day(Monthly, day("2026-02-20")), day("2026-03-20"));
        assert_eq!(calendar.key(Monthly, day("2025-02-19")), "1403-12");
        // A Friday is the last day of its week.
        assert_eq!(calendar.first_day(Weekly, day("2025-03-21")), day("2025-03-15"));
        assert_eq!(calendar.key(Weekly, day("2025-03-15")), "1403-12-25");
        assert_eq!(calendar.last_day(Weekly, day("2025-03-15")), day("2025-03-21"));
    }

    #[test]
    fn the_months_for_sql_are_all_of_them() {
        let months = &*JALALI_MONTHS;
        assert!(months[0] <= day("1970-01-01") && months[months.len() - 1] >= day("2100-12-01"));
        let of = |first, last| jalali_months(day(first), day(last));
        assert_eq!(of("2025-03-20", "2025-03-21"), [day("2025-02-19"), day("2025-03-21")]);
        assert_eq!(of("2025-03-21", "2025-03-21"), [day("2025-03-21")]);
        assert_eq!(of("0001-01-01", "9999-12-31").len(), months.len());
        assert!(of("9999-01-01", "9999-12-31").len() <= 1 && of("0001-01-01", "0001-01-01").is_empty());
        for pair in months.windows(2) {
            assert_eq!(Calendar::Jalali.last_day(Monthly, pair[0]).succ_opt(), Some(pair[1]));
            assert_eq!(Calendar::Jalali.first_day(Monthly, pair[1]), pair[1]);
        }
    }
}
