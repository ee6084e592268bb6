//! Amounts and days as text, in a fraction of the time that `Display` takes: a trend has a thousand of each.

use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;
use serde::Serializer;

/// Room for the longest: a point and a digit before the 28 behind it.
const ROOM: usize = 32;

/// A decimal as a JSON string, with all its decimals.
pub fn amount<S: Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    let mut room = [0; ROOM];
    match amount_text(*value, &mut room) {
        Some(text) => serializer.serialize_str(text),
        None => serializer.collect_str(value),
    }
}

/// A day as a JSON string: `YYYY-MM-DD`.
pub fn day<S: Serializer>(value: &NaiveDate, serializer: S) -> Result<S::Ok, S::Error> {
    let mut room = *b"0000-00-00";
    match day_text(*value, &mut room) {
        Some(text) => serializer.serialize_str(text),
        None => serializer.collect_str(value),
    }
}

/// `None`: it is not one of the usual, which are not negative and have at most 19 digits.
fn amount_text(value: Decimal, room: &mut [u8; ROOM]) -> Option<&str> {
    let mut units = u64::try_from(value.mantissa()).ok().filter(|_| value.is_sign_positive())?;
    let scale = value.scale() as usize;
    let (mut at, mut digits) = (ROOM, 0);
    while units > 0 || digits <= scale {
        if digits == scale && scale > 0 {
            at -= 1;
            room[at] = b'.';
        }
        at -= 1;
        room[at] = b'0' + (units % 10) as u8;
        units /= 10;
        digits += 1;
    }
    std::str::from_utf8(&room[at..]).ok()
}

/// `None`: a year that has no four digits.
fn day_text(day: NaiveDate, room: &mut [u8; 10]) -> Option<&str> {
    let year = u32::try_from(day.year()).ok().filter(|&year| year <= 9999)?;
    for (number, places) in [(year, &[3, 2, 1, 0][..]), (day.month(), &[6, 5]), (day.day(), &[9, 8])] {
        let mut number = number;
        for &place in places {
            room[place] = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
    std::str::from_utf8(room).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_ever() {
        for text in [
            "0", "0.0000", "7", "10", "0.0100", "123.4500", "12345.6789", "1844674407370955.1615",
            "1844674407370955.1616", "18446744073709551615", "79228162514264337593543950335", "-0.5", "-12",
            "0.0000000000000000000000000001", "1.0000000000000000000000000000",
        ] {
            let value: Decimal = text.parse().unwrap();
            assert_eq!(amount(&value, serde_json::value::Serializer).unwrap(), value.to_string());
        }
        let nothing = -Decimal::new(0, 4);
        assert_eq!(amount(&nothing, serde_json::value::Serializer).unwrap(), nothing.to_string());
    }

    #[test]
    fn days_read_as_ever() {
        for text in ["2026-01-09", "1999-12-31", "0001-01-01", "9999-12-31", "+12026-02-03", "-0001-01-01"] {
            let value: NaiveDate = text.parse().unwrap();
            assert_eq!(day(&value, serde_json::value::Serializer).unwrap(), value.to_string());
        }
    }
}
