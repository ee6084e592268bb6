//! Times as files write them, read into microseconds since 1970 UTC.

use chrono::{Datelike, NaiveDate, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

/// Microseconds of a day.
pub const DAY_US: i64 = 86_400_000_000;

/// Why a text is no usable time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InstantError {
    /// Not one of the forms.
    #[error("is not a date; write it like 2025-01-31, 2025-01-31 14:05:00 or 2025-01-31T14:05:00+01:00")]
    NotADate,
    /// A clock that never showed this.
    #[error(
        "did not exist: clocks were put forward over it; give an offset, as in 2025-03-30T02:30:00+01:00"
    )]
    Skipped,
}

/// Reads `YYYY-MM-DD`, with or without a time (`T` or a blank between, seconds and up to nine decimals
/// optional, digits beyond microseconds dropped) and with or without an offset (`Z`, `+01:00`, `+0100`,
/// `+01`). A time without one is `zone`'s; one that occurred twice there is its first occurrence.
pub fn parse_instant(text: &[u8], zone: Tz) -> Result<i64, InstantError> {
    let bad = InstantError::NotADate;
    let (date, rest) = text.split_at_checked(10).ok_or(bad)?;
    let days = days_since_epoch(date).ok_or(bad)?;
    let (time_us, offset) = match rest {
        [] => (0, &[][..]),
        [b'T' | b't' | b' ', time @ ..] => time_of_day(time).ok_or(bad)?,
        _ => return Err(bad),
    };
    let local = i64::from(days) * DAY_US + time_us;
    match offset {
        [] if zone == Tz::UTC => Ok(local),
        [] => in_zone(local, zone),
        [b'Z' | b'z'] => Ok(local),
        [sign @ (b'+' | b'-'), offset @ ..] => {
            let seconds = offset_seconds(offset).ok_or(bad)?;
            Ok(local - if *sign == b'-' { -seconds } else { seconds } * 1_000_000)
        }
        _ => Err(bad),
    }
}

/// The day, counted from 1970-01-01, that an instant belongs to in a zone.
pub fn day_of(instant_us: i64, zone: Tz) -> i32 {
    let offset_us = if zone == Tz::UTC {
        0
    } else {
        chrono::DateTime::from_timestamp_micros(instant_us).map_or(0, |instant| {
            i64::from(zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc()) * 1_000_000
        })
    };
    i32::try_from((instant_us + offset_us).div_euclid(DAY_US)).unwrap_or(i32::MAX)
}

/// The calendar day of a day's number.
pub fn date_of(day: i32) -> NaiveDate {
    NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date") + chrono::Duration::days(day.into())
}

/// Year and month (UTC) of an instant, as months since year 0.
pub fn month_of(instant_us: i64) -> i32 {
    let date = date_of(i32::try_from(instant_us.div_euclid(DAY_US)).unwrap_or(0));
    date.year() * 12 + date.month0() as i32
}

/// The first day of the month that an instant is in, in UTC.
pub fn first_of_month(instant_us: i64) -> NaiveDate {
    let month = month_of(instant_us);
    NaiveDate::from_ymd_opt(month / 12, month as u32 % 12 + 1, 1).unwrap_or_default()
}

fn in_zone(local_us: i64, zone: Tz) -> Result<i64, InstantError> {
    let local: NaiveDateTime =
        chrono::DateTime::from_timestamp_micros(local_us).ok_or(InstantError::NotADate)?.naive_utc();
    zone.from_local_datetime(&local)
        .earliest()
        .map(|instant| instant.timestamp_micros())
        .ok_or(InstantError::Skipped)
}

fn number(text: &[u8]) -> Option<i64> {
    text.iter()
        .try_fold(0i64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

/// Days from 1970-01-01 to a `YYYY-MM-DD`, if it is one.
pub fn days_since_epoch(date: &[u8]) -> Option<i32> {
    let [_, _, _, _, b'-', _, _, b'-', _, _] = date else { return None };
    let (year, month, day) = (number(&date[..4])?, number(&date[5..7])?, number(&date[8..])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Days from the civil calendar, years beginning in March.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1;
    i32::try_from(days - 719_468).ok()
}

/// Microseconds since midnight, and what follows the time.
fn time_of_day(text: &[u8]) -> Option<(i64, &[u8])> {
    let end = text.iter().position(|byte| matches!(byte, b'Z' | b'z' | b'+' | b'-')).unwrap_or(text.len());
    let (clock, offset) = text.split_at(end);
    let clock = clock.trim_ascii_end();
    let (hours, minutes) = match clock {
        [_, _, b':', _, _, ..] => (number(&clock[..2])?, number(&clock[3..5])?),
        _ => return None,
    };
    let (seconds, decimals) = match &clock[5..] {
        [] => (0, &[][..]),
        [b':', one, two] => (number(&[*one, *two])?, &[][..]),
        [b':', one, two, b'.' | b',', decimals @ ..] if (1..=9).contains(&decimals.len()) => {
            (number(&[*one, *two])?, decimals)
        }
        _ => return None,
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    number(decimals)?;
    let kept = &decimals[..decimals.len().min(6)];
    let micros = number(kept)? * 10i64.pow(6 - kept.len() as u32);
    Some((((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + micros, offset))
}

fn offset_seconds(text: &[u8]) -> Option<i64> {
    let (hours, minutes) = match text {
        [_, _] => (number(text)?, 0),
        [_, _, b':', _, _] => (number(&text[..2])?, number(&text[3..])?),
        [_, _, _, _] => (number(&text[..2])?, number(&text[2..])?),
        _ => return None,
    };
    (hours <= 15 && minutes <= 59).then_some((hours * 60 + minutes) * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> i64 {
        text.parse::<chrono::DateTime<chrono::Utc>>().unwrap().timestamp_micros()
    }

    #[test]
    fn every_day_of_four_centuries_is_counted_as_chrono_counts() {
        let mut date = NaiveDate::from_ymd_opt(1899, 12, 31).unwrap();
        while date.year() < 2301 {
            let days = days_since_epoch(date.to_string().as_bytes()).unwrap();
            assert_eq!(date_of(days), date);
            date = date.succ_opt().unwrap();
        }
        for no_date in ["2025-02-29", "2025-13-01", "2025-00-10", "2025-01-00", "2025-04-31", "20250101xx"] {
            assert_eq!(days_since_epoch(no_date.as_bytes()), None, "{no_date}");
        }
    }

    #[test]
    fn times_are_read_in_every_documented_form() {
        let at = utc("2025-01-31T14:05:06Z");
        for text in [
            "2025-01-31T14:05:06Z",
            "2025-01-31 14:05:06",
            "2025-01-31 14:05:06.000000",
            "2025-01-31T14:05:06.000000999",
            "2025-01-31T15:05:06+01:00",
            "2025-01-31T15:05:06+0100",
            "2025-01-31T08:05:06-06",
            "2025-01-31 14:05:06 +00:00",
        ] {
            assert_eq!(parse_instant(text.as_bytes(), Tz::UTC), Ok(at), "{text}");
        }
        assert_eq!(parse_instant(b"2025-01-31", Tz::UTC), Ok(utc("2025-01-31T00:00:00Z")));
        assert_eq!(parse_instant(b"2025-01-31 10:30", Tz::UTC), Ok(utc("2025-01-31T10:30:00Z")));
        for text in [
            "",
            "2025",
            "31.01.2025",
            "2025-01-31x",
            "2025-01-31 25:00:00",
            "2025-01-31 10:60:00",
            "2025-01-31 10:00:61",
            "2025-01-31T10:00:00.",
            "2025-01-31T10:00:00+1",
            "2025-01-31T10:00:00 Paris",
        ] {
            assert_eq!(parse_instant(text.as_bytes(), Tz::UTC), Err(InstantError::NotADate), "{text}");
        }
    }

    #[test]
    fn naive_times_follow_the_zone_through_its_changes() {
        let zone = Tz::Europe__Berlin;
        assert_eq!(parse_instant(b"2025-07-01 12:00:00", zone), Ok(utc("2025-07-01T10:00:00Z")));
        assert_eq!(parse_instant(b"2025-03-30 02:30:00", zone), Err(InstantError::Skipped));
        assert_eq!(parse_instant(b"2025-10-26 02:30:00", zone), Ok(utc("2025-10-26T00:30:00Z")));
        assert_eq!(date_of(day_of(utc("2025-06-30T22:30:00Z"), zone)).to_string(), "2025-07-01");
    }
}
