//! Times as service D wrote and read them: local, in the reporting zone, without an offset.

use crate::params::local;
use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

/// Which end of a range a time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The first.
    First,
    /// The last.
    Last,
}

/// Local time with microseconds.
pub(super) fn write_moment(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone).format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}

/// A time as D's framework read it: a day (its beginning), or a day, `T` or a blank, and a time whose seconds,
/// fraction and offset may be left out. An hour that a clock has twice is both for a range.
pub(super) fn read_moment(zone: Tz, text: &str, end: End) -> Option<DateTime<Utc>> {
    let (day, time) = match text.split_once(['T', 't', ' ']) {
        Some((day, time)) => (day, Some(time)),
        None => (text, None),
    };
    let day = ["%Y-%m-%d", "%Y%m%d"].iter().find_map(|form| NaiveDate::parse_from_str(day, form).ok())?;
    let (time, offset) = time.map_or(Some((NaiveTime::MIN, None)), read_time)?;
    let written = day.and_time(time);
    let instant = match (offset, end) {
        (Some(offset), _) => offset.from_local_datetime(&written).single()?.to_utc(),
        (None, End::First) => local(zone, written)?,
        (None, End::Last) => match zone.from_local_datetime(&written).latest() {
            Some(last) => last.to_utc(),
            None => local(zone, written)?,
        },
    };
    (1..=9999).contains(&day.year()).then_some(instant)
}

fn read_time(text: &str) -> Option<(NaiveTime, Option<FixedOffset>)> {
    let (clock, offset) = match (text.strip_suffix(['Z', 'z']), text.rfind(['+', '-'])) {
        (Some(clock), _) => (clock, FixedOffset::east_opt(0)),
        (None, Some(at)) => (&text[..at], Some(read_offset(&text[at..])?)),
        (None, None) => (text, None),
    };
    let clock = clock.trim_end().replace(',', ".");
    let forms = ["%H:%M:%S%.f", "%H:%M", "%H%M%S%.f", "%H%M", "%H"];
    Some((forms.iter().find_map(|form| NaiveTime::parse_from_str(&clock, form).ok())?, offset))
}

/// `+05`, `+0530` or `+05:30`.
fn read_offset(text: &str) -> Option<FixedOffset> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits = text.get(1..)?.replacen(':', "", 1);
    if !matches!(digits.len(), 2 | 4) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = digits.split_at(2);
    let minutes: i32 = if minutes.is_empty() { 0 } else { minutes.parse().ok()? };
    FixedOffset::east_opt(sign * 60 * (60 * hours.parse::<i32>().ok()? + minutes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_framework_read_is_read() {
        let karachi = chrono_tz::Asia::Karachi;
        for (text, instant) in [
            ("2026-01-01", "2025-12-31T19:00:00Z"),
            ("2026-1-1", "2025-12-31T19:00:00Z"),
            ("20260101", "2025-12-31T19:00:00Z"),
            ("2026-01-01T00:00:00", "2025-12-31T19:00:00Z"),
            ("2026-01-01 00:00:00", "2025-12-31T19:00:00Z"),
            ("2026-01-01 10:30", "2026-01-01T05:30:00Z"),
            ("2026-01-01T10:30:15.022956", "2026-01-01T05:30:15.022956Z"),
            ("2026-01-01T10:30:15,5", "2026-01-01T05:30:15.5Z"),
            ("2026-01-01T10:30:15Z", "2026-01-01T10:30:15Z"),
            ("2026-01-01T10:30:15 +05:30", "2026-01-01T05:00:15Z"),
            ("2026-01-01T10:30:15-0300", "2026-01-01T13:30:15Z"),
            ("2026-01-01T10:30+01", "2026-01-01T09:30:00Z"),
        ] {
            let read = read_moment(karachi, text, End::First);
            assert_eq!(read, Some(instant.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            "no-date",
            "2026-13-01",
            "2026-02-30",
            "2026-01-01T",
            "2026-01-01T25:00",
            "2026-01-01T10:00+x",
        ] {
            assert_eq!(read_moment(karachi, text, End::First), None, "{text}");
        }
    }

    #[test]
    fn an_hour_that_comes_twice_belongs_to_the_range_both_times() {
        let berlin = chrono_tz::Europe::Berlin;
        let read = |end| read_moment(berlin, "2026-10-25T02:30", end).unwrap().to_rfc3339();
        assert_eq!(read(End::First), "2026-10-25T00:30:00+00:00");
        assert_eq!(read(End::Last), "2026-10-25T01:30:00+00:00");
    }

    #[test]
    fn times_are_written_with_microseconds_even_without_any() {
        let at = "2026-11-20T06:27:46Z".parse().unwrap();
        assert_eq!(write_moment(at, chrono_tz::Asia::Karachi), "2026-11-20T11:27:46.000000");
    }
}
