//! Times, durations and ids as people say them, and as they type them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use shared::clock::{Clock, SystemClock};
use std::time::Duration;

/// Now.
pub fn now() -> DateTime<Utc> {
    SystemClock.now()
}

/// A duration in its two largest units: `2 h 5 min`, `3.2 s`, `15 ms`.
pub fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = duration.as_secs();
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match seconds {
        0 => format!("{millis} ms"),
        1..60 => format!("{seconds}.{} s", duration.subsec_millis() / 100),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

/// The time between two instants; nothing if it would be negative.
pub fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    duration((to - from).to_std().unwrap_or_default())
}

/// How a time lies to now: `3 min 2 s ago`, `in 2 h`.
pub fn relative(time: DateTime<Utc>) -> String {
    let now = now();
    if time > now { format!("in {}", between(now, time)) } else { format!("{} ago", between(time, now)) }
}

/// A time, whole: `2026-11-20 09:30:00 UTC`.
pub fn whole(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// An id's end, which tells runs apart: the beginning is the time.
pub fn short(id: &str) -> &str {
    id.get(id.len().saturating_sub(8)..).unwrap_or(id)
}

/// The first line, cut to so many characters.
pub fn cut(text: &str, characters: usize) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() <= characters {
        return line.to_owned();
    }
    let mut cut: String = line.chars().take(characters.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Reads `90s`, `15m`, `2h`, `3d` or several of them: `1h30m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration such as 90s, 15m, 2h, 3d or 1h30m");
    let mut seconds: u64 = 0;
    let mut number = String::new();
    for letter in text.trim().chars() {
        if letter.is_ascii_digit() {
            number.push(letter);
            continue;
        }
        let unit = match letter {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        let count: u64 = std::mem::take(&mut number).parse().map_err(|_| wrong())?;
        seconds = count.checked_mul(unit).and_then(|more| seconds.checked_add(more)).ok_or_else(wrong)?;
    }
    // Ten years: beyond, it is a mistake.
    if !number.is_empty() || seconds == 0 || seconds > 10 * 366 * 86_400 {
        return Err(wrong());
    }
    Ok(Duration::from_secs(seconds))
}

/// Reads RFC 3339, or `2026-11-20 18:00`, or `2026-11-20`; what names no zone is UTC.
pub fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    for form in ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, form) {
            return Ok(time.and_utc());
        }
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(date.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    Err(format!("{text:?} is no time such as 2026-11-20T18:00:00Z or \"2026-11-20 18:00\" (UTC)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_two_units() {
        let said = |ms| duration(Duration::from_millis(ms));
        assert_eq!(said(15), "15 ms");
        assert_eq!(said(3_250), "3.2 s");
        assert_eq!(said(120_000), "2 min");
        assert_eq!(said(7_500_000), "2 h 5 min");
        assert_eq!(said(90_000_000), "1 d 1 h");
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(parse_duration("1h30m").unwrap(), Duration::from_secs(5400));
        assert_eq!(parse_duration("3d").unwrap(), Duration::from_secs(259_200));
        for wrong in ["", "2", "h", "2 h", "-1h", "0s", "99999999999999999999h", "5000d"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_without_a_zone_are_utc() {
        let expected: DateTime<Utc> = "2026-11-20T18:00:00Z".parse().unwrap();
        for text in ["2026-11-20T18:00:00Z", "2026-11-20 18:00", "2026-11-20T19:00:00+01:00"] {
            assert_eq!(parse_time(text).unwrap(), expected, "{text}");
        }
        assert!(parse_time("tomorrow").is_err());
    }

    #[test]
    fn text_is_cut_to_a_line() {
        assert_eq!(cut("one\ntwo", 10), "one");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(short("01a1f828-3a35-74a3-8cf5-57ada783babe"), "a783babe");
    }
}
