//! The two calendars, against libraries that are not ours: Python's own for the Gregorian, persiantools for the
//! Jalali.

use chrono::NaiveDate;
use shared::summaries::{Calendar, SummaryMode};
use std::process::Command;

fn python(arguments: &[&str]) -> String {
    let python = std::env::var("MILLRACE_TEST_PYTHON")
        .expect("MILLRACE_TEST_PYTHON is not set: run the tests by ./run test");
    let output = Command::new(python).args(arguments).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

#[test]
fn the_calendars_agree_with_an_independent_library() {
    let days = python(&[concat!(env!("CARGO_MANIFEST_DIR"), "/files/jalali_days.py")]);
    let jalali = Calendar::Jalali;
    let mut leap_years = std::collections::BTreeSet::new();
    for line in days.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [date, key, week, first, last, leap] = fields[..] else { panic!("{line}") };
        let (date, first, last) = (day(date), day(first), day(last));
        assert_eq!(jalali.key(SummaryMode::Daily, date), key, "{line}");
        assert_eq!(jalali.first_day(SummaryMode::Weekly, date), day(week), "{line}");
        assert_eq!(jalali.first_day(SummaryMode::Monthly, date), first, "{line}");
        assert_eq!(jalali.last_day(SummaryMode::Monthly, first), last, "{line}");
        assert_eq!(jalali.key(SummaryMode::Monthly, first), key[..7], "{line}");
        if key.ends_with("12-30") {
            leap_years.insert(key[..4].to_owned());
        }
        assert_eq!(
            leap == "True",
            jalali.key(SummaryMode::Daily, end_of_year(date)).ends_with("-30"),
            "{line}"
        );
    }
    assert_eq!(days.lines().count(), 100 * 365 + leap_years.len());
    assert_eq!(leap_years.len(), 24, "{leap_years:?}");
}

/// The last day of the Jalali year that a day belongs to.
fn end_of_year(day: NaiveDate) -> NaiveDate {
    let (jalali, mode) = (Calendar::Jalali, SummaryMode::Monthly);
    let mut last = jalali.last_day(mode, jalali.first_day(mode, day));
    while !jalali.key(mode, last).ends_with("-12") {
        last = jalali.last_day(mode, last.succ_opt().unwrap());
    }
    last
}

#[test]
fn gregorian_periods_agree_with_pythons() {
    let script = "
from datetime import date, timedelta
from calendar import monthrange
day = date(1970, 1, 1)
while day < date(2070, 1, 1):
    year, week, weekday = day.isocalendar()
    last = day.replace(day=monthrange(day.year, day.month)[1])
    print(day, f'{year:04}-W{week:02}', day - timedelta(days=weekday - 1), last)
    day += timedelta(days=1)
";
    let days = python(&["-c", script]);
    let gregorian = Calendar::Gregorian;
    for line in days.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [date, week_key, week, last] = fields[..] else { panic!("{line}") };
        let (first, date) = (day(&format!("{}-01", &date[..7])), day(date));
        assert_eq!(gregorian.first_day(SummaryMode::Weekly, date), day(week), "{line}");
        assert_eq!(gregorian.key(SummaryMode::Weekly, day(week)), week_key, "{line}");
        assert_eq!(gregorian.first_day(SummaryMode::Monthly, date), first, "{line}");
        assert_eq!(gregorian.last_day(SummaryMode::Monthly, first), day(last), "{line}");
    }
    assert_eq!(days.lines().count(), 36_525);
}
