//! How numbers, times and foreign text are written on pages.

use askama::filters::HtmlSafe;
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use std::{
    borrow::Borrow,
    fmt::{Display, Formatter},
};

/// `1,234,567`.
pub fn count(number: impl Borrow<i64>) -> String {
    let number = *number.borrow();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    if number < 0 {
        text.push('\u{2212}');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A movement: `+1,234`, `−7`.
pub fn moved(number: i64) -> String {
    format!("{}{}", if number > 0 { "+" } else { "" }, count(number))
}

/// A number with its noun, in the plural unless it is one: `1 run`, `2 runs`, `2 deliveries`.
pub fn counted(number: impl Borrow<i64>, noun: &str) -> String {
    let number = *number.borrow();
    let stem = noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']));
    match stem {
        _ if number == 1 => format!("1 {noun}"),
        Some(stem) => format!("{} {stem}ies", count(number)),
        None => format!("{} {noun}s", count(number)),
    }
}

/// `79.4 MB`, in powers of ten.
pub fn bytes(number: impl Borrow<i64>) -> String {
    let number = *number.borrow();
    const UNITS: [(i64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    for (unit, name) in UNITS {
        if number >= unit {
            let tenths = number / (unit / 10);
            return format!("{}.{} {name}", count(tenths / 10), tenths % 10);
        }
    }
    counted(number, "byte")
}

/// Amounts with at least two decimals, the whole part grouped: (`−1,234`, `.50`).
pub fn amount(amount: Decimal) -> (String, String) {
    let text = AmountText::new(amount);
    (text.whole().to_owned(), text.cents().to_owned())
}

/// A number in a table: text that needs no escaping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// An amount, as [`amount`] writes it.
    Amount(Decimal),
    /// A count.
    Count(i64),
}

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Amount(amount) => f.write_str(AmountText::new(*amount).whole_and_cents()),
            Self::Count(number) => f.write_str(&count(number)),
        }
    }
}

impl HtmlSafe for Number {}

/// Room for an amount: a minus of three bytes, 29 digits and their commas, a point, 28 decimals.
const ROOM: usize = 72;

/// An amount's text, in digits and signs that need no escaping. Pages have hundreds: it is made without detours.
#[derive(Debug, Clone, Copy)]
pub struct AmountText {
    /// The text stands at its end.
    room: [u8; ROOM],
    start: usize,
    point: usize,
}

impl AmountText {
    /// At least two decimals, the whole part grouped: `−1,234.50`.
    pub fn new(amount: Decimal) -> Self {
        let mut room = [0; ROOM];
        let (mut units, mut scale) = (amount.mantissa().unsigned_abs(), amount.scale());
        while scale > 2 && units.is_multiple_of(10) {
            units /= 10;
            scale -= 1;
        }
        while scale < 2 {
            units *= 10;
            scale += 1;
        }
        let (scale, mut start, mut digits) = (scale as usize, ROOM, 0);
        let mut put = |byte: u8| {
            start -= 1;
            room[start] = byte;
        };
        while units > 0 || digits <= scale {
            if digits == scale {
                put(b'.');
            } else if digits > scale && (digits - scale).is_multiple_of(3) {
                put(b',');
            }
            // Divided as what a processor divides at once, as soon as it fits.
            let digit = match u64::try_from(units) {
                Ok(small) => {
                    units = u128::from(small / 10);
                    small % 10
                }
                Err(_) => {
                    let digit = units % 10;
                    units /= 10;
                    digit as u64
                }
            };
            put(b'0' + digit as u8);
            digits += 1;
        }
        if amount.is_sign_negative() && !amount.is_zero() {
            for byte in "\u{2212}".bytes().rev() {
                put(byte);
            }
        }
        // A point and its decimals, of which there are two or more.
        Self { room, start, point: ROOM - scale - 1 }
    }

    /// `−1,234`.
    pub fn whole(&self) -> &str {
        self.part(self.start, self.point)
    }

    /// `.50`.
    pub fn cents(&self) -> &str {
        self.part(self.point, ROOM)
    }

    fn whole_and_cents(&self) -> &str {
        self.part(self.start, ROOM)
    }

    fn part(&self, from: usize, to: usize) -> &str {
        std::str::from_utf8(&self.room[from..to]).unwrap_or_default()
    }
}

/// A length of time, to two places at most: `340 ms`, `4.1 s`, `2 min 3 s`, `3 h 4 min`, `5 d 2 h`.
pub fn duration(time: TimeDelta) -> String {
    let ms = time.num_milliseconds().max(0);
    let seconds = ms / 1000;
    let pair = |big: i64, big_name: &str, small: i64, small_name: &str| match small {
        0 => format!("{big} {big_name}"),
        _ => format!("{big} {big_name} {small} {small_name}"),
    };
    match seconds {
        0 => format!("{ms} ms"),
        1..=9 => format!("{seconds}.{} s", ms % 1000 / 100),
        10..=59 => format!("{seconds} s"),
        60..=3_599 => pair(seconds / 60, "min", seconds % 60, "s"),
        3_600..=172_799 => pair(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// How long ago, or in what time: `now`, `12 s ago`, `in 3 min`. The script writes the same.
pub fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - at).num_seconds();
    let length = match seconds.abs() {
        0..=4 => return "now".to_owned(),
        past @ 5..=59 => format!("{past} s"),
        past @ 60..=3_599 => format!("{} min", past / 60),
        past @ 3_600..=172_799 => format!("{} h", past / 3_600),
        past => format!("{} d", past / 86_400),
    };
    if seconds > 0 { format!("{length} ago") } else { format!("in {length}") }
}

/// The exact time with its zone: `2026-11-20 14:03:22.123 UTC`.
#[derive(Debug, Clone, Copy)]
pub struct ExactTime(pub DateTime<Tz>);

impl Display for ExactTime {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", Stamp::Whole(self.0.naive_local()), self.0.offset())
    }
}

impl HtmlSafe for ExactTime {}

/// A date and a time, or a part of them; needs no escaping.
#[derive(Debug, Clone, Copy)]
pub enum Stamp {
    /// `2026-11-20T14:03:22.123Z`, of what is UTC.
    Iso(NaiveDateTime),
    /// `2026-11-20 14:03:22.123`.
    Whole(NaiveDateTime),
    /// `2026-11-20 14:03:22`.
    Second(NaiveDateTime),
    /// `14:03:22.123`.
    Clock(NaiveDateTime),
}

impl Display for Stamp {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let (at, between) = match *self {
            Self::Iso(at) => (at, b'T'),
            Self::Whole(at) | Self::Second(at) | Self::Clock(at) => (at, b' '),
        };
        let Some(text) = stamp(at, between) else {
            let pattern = match self {
                Self::Iso(_) => "%Y-%m-%dT%H:%M:%S%.3fZ",
                Self::Whole(_) => "%Y-%m-%d %H:%M:%S%.3f",
                Self::Second(_) => "%Y-%m-%d %H:%M:%S",
                Self::Clock(_) => "%H:%M:%S%.3f",
            };
            return write!(f, "{}", at.format(pattern));
        };
        let part = match self {
            Self::Iso(_) => &text[..],
            Self::Whole(_) => &text[..23],
            Self::Second(_) => &text[..19],
            Self::Clock(_) => &text[11..23],
        };
        f.write_str(std::str::from_utf8(part).unwrap_or_default())
    }
}

impl HtmlSafe for Stamp {}

/// What `%Y-%m-%dT%H:%M:%S%.3fZ` writes, without reading the pattern for each of a page's hundred times; `None` in a year
/// that has not four digits.
fn stamp(at: NaiveDateTime, between: u8) -> Option<[u8; 24]> {
    let year = u32::try_from(at.year()).ok().filter(|&year| year <= 9999)?;
    // A leap second is the 59th in chrono, with up to 1,999 milliseconds.
    let millis = at.and_utc().timestamp_subsec_millis();
    let (second, millis) = (at.second() + millis / 1000, millis % 1000);
    let mut text = *b"0000-00-00 00:00:00.000Z";
    text[10] = between;
    // Each number from its last digit backwards.
    for (mut number, last, digits) in [
        (year, 3, 4),
        (at.month(), 6, 2),
        (at.day(), 9, 2),
        (at.hour(), 12, 2),
        (at.minute(), 15, 2),
        (second, 18, 2),
        (millis, 22, 3),
    ] {
        for place in 0..digits {
            text[last - place] = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
    Some(text)
}

/// Foreign text, cut after `limit` characters with a note that says so.
pub fn cut(text: &str, limit: usize) -> String {
    // As many bytes are no more characters.
    if text.len() <= limit {
        return text.to_owned();
    }
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some((end, _)) => {
            let rest = text[end..].chars().count();
            format!(
                "{}… (and {})",
                &text[..end],
                counted(i64::try_from(rest).unwrap_or(i64::MAX), "more character")
            )
        }
    }
}

/// A name for a list: of a long one the beginning and the end, where names differ.
pub fn shortened(name: &str) -> String {
    let length = name.chars().count();
    if length <= 64 {
        return name.to_owned();
    }
    let (head, tail): (String, String) =
        (name.chars().take(40).collect(), name.chars().skip(length - 20).collect());
    format!("{head}…{tail}")
}

/// Foreign bytes as text: what is no UTF-8 becomes `�`, control characters become visible, and after
/// `limit` bytes a note says how many follow.
pub fn raw(raw: &[u8], limit: usize) -> String {
    let shown = &raw[..raw.len().min(limit)];
    let mut text: String = String::from_utf8_lossy(shown)
        .chars()
        .map(|character| match character {
            '\n' | '\t' => character,
            // U+2400 … are the pictures of the control characters.
            '\0'..='\x1f' => char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'),
            '\x7f' => '\u{2421}',
            '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
            _ => character,
        })
        .collect();
    if raw.len() > limit {
        text.push_str(&format!(
            "… (and {} more)",
            bytes(i64::try_from(raw.len() - limit).unwrap_or(i64::MAX))
        ));
    }
    text
}

/// A day that somebody typed; `None` if it is none, or one that no file holds.
pub fn read_day(text: &str) -> Option<NaiveDate> {
    text.parse().ok().filter(|day: &NaiveDate| (1900..=2200).contains(&day.year()))
}

/// What is said of a text that is no day.
pub fn no_day(text: &str) -> String {
    format!("“{}” is no day; write it as 2026-11-20.", cut(text, 40))
}

/// A kind or a code as words: `ingest_chunk` → `ingest chunk`.
pub fn words(name: &str) -> String {
    name.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(count(0), "0");
        assert_eq!(count(-1_234_567), "\u{2212}1,234,567");
        assert_eq!(counted(1, "delivery"), "1 delivery");
        assert_eq!([counted(2, "delivery"), counted(3, "day")], ["2 deliveries", "3 days"]);
        assert_eq!(bytes(79_449_999), "79.4 MB");
        assert_eq!(bytes(999), "999 bytes");
        assert_eq!(amount(Decimal::new(-12_345_000, 4)), ("\u{2212}1,234".into(), ".50".into()));
        assert_eq!(amount(Decimal::new(5, 4)), ("0".into(), ".0005".into()));
        for (number, text) in [
            (Decimal::ZERO, "0.00"),
            (Decimal::new(0, 28), "0.00"),
            (Decimal::new(-5, 1), "\u{2212}0.50"),
            (Decimal::new(-0, 2), "0.00"),
            (Decimal::new(1_000, 0), "1,000.00"),
            (Decimal::new(999_999, 3), "999.999"),
            (Decimal::from_i128_with_scale(-1, 28), "\u{2212}0.0000000000000000000000000001"),
            (Decimal::MIN, "\u{2212}79,228,162,514,264,337,593,543,950,335.00"),
        ] {
            assert_eq!(Number::Amount(number).to_string(), text);
        }
        assert_eq!(Number::Count(-1_234).to_string(), "\u{2212}1,234");
    }

    #[test]
    fn times_are_told_in_two_places() {
        assert_eq!(duration(TimeDelta::milliseconds(4_190)), "4.1 s");
        assert_eq!(duration(TimeDelta::seconds(3_600)), "1 h");
        assert_eq!(duration(TimeDelta::seconds(180_000)), "2 d 2 h");
        assert_eq!(ago(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + TimeDelta::seconds(90)), "1 min ago");
        assert_eq!(ago(DateTime::UNIX_EPOCH + TimeDelta::seconds(12), DateTime::UNIX_EPOCH), "in 12 s");
    }

    #[test]
    fn times_are_written_as_chrono_does() {
        for text in [
            "2026-11-20T14:03:22.123456Z",
            "0001-01-01T00:00:00Z",
            "2016-12-31T23:59:60.500Z",
            "9999-12-31T23:59:59.999Z",
            "+12026-02-03T04:05:06.007Z",
        ] {
            let at: DateTime<Utc> = text.parse().unwrap();
            for zone in [Tz::UTC, Tz::America__New_York, Tz::Asia__Tehran] {
                let expected = at.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S%.3f %Z").to_string();
                assert_eq!(ExactTime(at.with_timezone(&zone)).to_string(), expected);
            }
            let naive = at.naive_utc();
            let expected = at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
            assert_eq!(Stamp::Iso(naive).to_string(), expected);
            assert_eq!(Stamp::Second(naive).to_string(), at.format("%Y-%m-%d %H:%M:%S").to_string());
            assert_eq!(Stamp::Clock(naive).to_string(), at.format("%H:%M:%S%.3f").to_string());
        }
    }

    #[test]
    fn hostile_bytes_become_harmless_text() {
        assert_eq!(raw(b"a\0b\xff", 100), "a\u{2400}b\u{fffd}");
        assert_eq!(raw(b"abcdef", 3), "abc… (and 3 bytes more)");
        assert_eq!(raw("\u{202e}abc".as_bytes(), 100), "\u{fffd}abc");
        assert_eq!(shortened(&"é".repeat(80)).chars().count(), 61);
        assert_eq!(cut("abcdef", 3), "abc… (and 3 more characters)");
    }
}
