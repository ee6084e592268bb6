//! Cells as text: numbers, dates and words as a spreadsheet shows them, without what depends on a format
//! or a language.

use crate::uploads::reading::LOST_DIGITS;
use calamine::{CellErrorType, DataRef, ExcelDateTime};
use chrono::{Duration, NaiveDate, NaiveDateTime};
use std::fmt::Write;

/// Whole numbers up to here are exact in a cell.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Numbers from here on are written with an exponent.
const PLAIN: f64 = 1e21;
const DAY_MS: f64 = 86_400_000.0;

/// Appends a cell's text. True if it has more digits than a cell can keep; its text then says so, and
/// whatever field it feeds is rejected.
pub fn write_cell(text: &mut String, value: &DataRef<'_>, from_1904: bool) -> bool {
    match value {
        DataRef::Empty => {}
        DataRef::String(value) | DataRef::DateTimeIso(value) | DataRef::DurationIso(value) => {
            text.push_str(value);
        }
        DataRef::SharedString(value) => text.push_str(value),
        DataRef::Bool(value) => text.push_str(if *value { "TRUE" } else { "FALSE" }),
        DataRef::Int(value) => push(text, value),
        DataRef::Float(value) => return write_number(text, *value),
        DataRef::DateTime(value) => write_date(text, value, from_1904),
        DataRef::Error(error) => text.push_str(error_text(error)),
    }
    false
}

fn push(text: &mut String, value: impl std::fmt::Display) {
    write!(text, "{value}").expect("memory takes it");
}

fn error_text(error: &CellErrorType) -> &'static str {
    match error {
        CellErrorType::Div0 => "#DIV/0!",
        CellErrorType::NA => "#N/A",
        CellErrorType::Name => "#NAME?",
        CellErrorType::Null => "#NULL!",
        CellErrorType::Num => "#NUM!",
        CellErrorType::Ref => "#REF!",
        CellErrorType::Value => "#VALUE!",
        CellErrorType::GettingData => "#GETTING_DATA",
    }
}

/// Whole numbers as they are; others with at most 15 significant digits, which is what a spreadsheet
/// shows: 0.1 + 0.2 is 0.3.
fn write_number(text: &mut String, value: f64) -> bool {
    if value == 0.0 {
        text.push('0');
    } else if value.fract() == 0.0 && value.abs() < PLAIN {
        if value.abs() > EXACT {
            text.push_str(LOST_DIGITS);
        }
        push(text, value);
        return value.abs() > EXACT;
    } else if value.is_finite() && (1e-15..PLAIN).contains(&value.abs()) {
        write_decimal(text, value);
    } else {
        push(text, format_args!("{value:E}"));
    }
    false
}

fn write_decimal(text: &mut String, value: f64) {
    let scientific = format!("{:.14e}", value.abs());
    let (mantissa, exponent) = scientific.split_once('e').expect("a number in scientific form has one");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0');
    if value < 0.0 {
        text.push('-');
    }
    let Ok(exponent) = usize::try_from(exponent) else {
        text.push_str("0.");
        text.extend(std::iter::repeat_n('0', (-exponent - 1).unsigned_abs() as usize));
        text.push_str(digits);
        return;
    };
    let whole = exponent + 1;
    if digits.len() <= whole {
        text.push_str(digits);
        text.extend(std::iter::repeat_n('0', whole - digits.len()));
    } else {
        text.push_str(&digits[..whole]);
        text.push('.');
        text.push_str(&digits[whole..]);
    }
}

/// ISO 8601, to the millisecond, which is as exact as a cell is; a midnight is a date, what is within
/// the first day a time, a duration hours, minutes and seconds.
fn write_date(text: &mut String, value: &ExcelDateTime, from_1904: bool) {
    let serial = value.as_f64();
    if !(0.0..3_000_000.0).contains(&serial) {
        write_number(text, serial);
        return;
    }
    let ms = (serial * DAY_MS).round();
    if value.is_duration() || (serial < 1.0 && !(from_1904 && serial == 0.0)) {
        return write_clock(text, ms as i64);
    }
    match date_time(ms as i64, from_1904) {
        Some(at) if at.time() == chrono::NaiveTime::MIN => push(text, at.date()),
        Some(at) => push(text, at.format("%Y-%m-%d %H:%M:%S%.f")),
        None => {
            write_number(text, serial);
        }
    }
}

fn date_time(ms: i64, from_1904: bool) -> Option<NaiveDateTime> {
    let first = if from_1904 { (1904, 1, 1) } else { (1899, 12, 30) };
    let first = NaiveDate::from_ymd_opt(first.0, first.1, first.2)?.and_hms_opt(0, 0, 0)?;
    // 1900 had no 29 February, but Excel's calendar has one: before it a day less has passed.
    let missing = if !from_1904 && ms < 60 * 86_400_000 { Duration::days(1) } else { Duration::zero() };
    first.checked_add_signed(Duration::milliseconds(ms) + missing)
}

fn write_clock(text: &mut String, ms: i64) {
    let (seconds, ms) = (ms / 1000, ms % 1000);
    push(text, format_args!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60));
    if ms > 0 {
        push(text, format_args!(".{ms:03}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calamine::ExcelDateTimeType;

    #[test]
    fn numbers_are_as_a_spreadsheet_shows_them() {
        for (value, shown, imprecise) in [
            (0.0, "0", false),
            (-0.0, "0", false),
            (7.0, "7", false),
            (-12.5, "-12.5", false),
            (0.1 + 0.2, "0.3", false),
            (1.1 * 3.0, "3.3", false),
            (100.1 + 0.02, "100.12", false),
            (0.000_012_5, "0.0000125", false),
            (123_456_789_012_345.6, "123456789012346", false),
            (99_999_999_999.99, "99999999999.99", false),
            (9_007_199_254_740_991.0, "9007199254740991", false),
            (12_345_678_901_234_567_000.0, "#DIGITS! 12345678901234567000", true),
            (1e21, "1E21", false),
            (1.5e-20, "1.5E-20", false),
        ] {
            let mut text = String::new();
            assert_eq!(write_number(&mut text, value), imprecise, "{value}");
            assert_eq!(text, shown, "{value}");
        }
    }

    #[test]
    fn dates_are_of_1900_or_of_1904() {
        let shown = |serial: f64, from_1904: bool| {
            let mut text = String::new();
            let value = ExcelDateTime::new(serial, ExcelDateTimeType::DateTime, from_1904);
            write_date(&mut text, &value, from_1904);
            text
        };
        assert_eq!(shown(45_688.0, false), "2025-01-31");
        assert_eq!(shown(44_226.0, true), "2025-01-31");
        assert_eq!(shown(45_688.586_875, false), "2025-01-31 14:05:06");
        assert_eq!(shown(45_688.416_666_666_664, false), "2025-01-31 10:00:00");
        assert_eq!(shown(45_688.000_001_446_76, false), "2025-01-31 00:00:00.125");
        assert_eq!(shown(1.0, false), "1900-01-01");
        assert_eq!(shown(59.0, false), "1900-02-28");
        assert_eq!(shown(61.0, false), "1900-03-01");
        assert_eq!(shown(0.5, false), "12:00:00");
        assert_eq!(shown(0.0, true), "1904-01-01");
        assert_eq!(shown(0.4375, true), "10:30:00");
        assert_eq!(shown(-1.0, false), "-1");
    }
}
