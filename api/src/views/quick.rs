//! A trend as JSON, written at once: it has a thousand days, and `Serialize`, `Display` and a writer of pieces took more
//! time for it than PostgreSQL.

use chrono::{Datelike, NaiveDate};
use rust_decimal::Decimal;
use serde_json::Value;
use shared::analytics::SpendTrend;
use std::io::Write;

/// Bytes of a usual day.
const DAY: usize = 72;
/// Room for a decimal of at most 20 digits: a point, and as many zeros as it can have before them.
const ROOM: usize = 32;

/// What [`super::analytics::SpendTrendView`] reads as.
pub fn spend_trend(client_id: &str, trends: &[SpendTrend]) -> Vec<u8> {
    let days: usize = trends.iter().map(|trend| trend.days.len()).sum();
    let mut json = Vec::with_capacity((days + 4) * DAY);
    json.extend_from_slice(b"{\"client_id\":");
    text(&mut json, client_id);
    json.extend_from_slice(b",\"currencies\":[");
    for (number, trend) in trends.iter().enumerate() {
        json.extend_from_slice(if number == 0 { b"{\"currency\":" } else { b",{\"currency\":" });
        text(&mut json, &trend.currency);
        json.extend_from_slice(b",\"days\":[");
        for (number, one) in trend.days.iter().enumerate() {
            json.extend_from_slice(if number == 0 { b"{\"day\":\"" } else { b",{\"day\":\"" });
            day(&mut json, one.day);
            json.extend_from_slice(b"\",\"spent\":\"");
            amount(&mut json, one.spend);
            json.extend_from_slice(b"\",\"average_7d\":\"");
            amount(&mut json, one.average());
            json.extend_from_slice(b"\"}");
        }
        json.extend_from_slice(b"]}");
    }
    json.extend_from_slice(b"]}");
    json
}

fn text(json: &mut Vec<u8>, text: &str) {
    json.extend_from_slice(Value::from(text).to_string().as_bytes());
}

/// Writes what an amount's `Display` does.
fn amount(json: &mut Vec<u8>, value: Decimal) {
    let units = u64::try_from(value.mantissa()).ok().filter(|_| value.is_sign_positive());
    let Some(mut units) = units else { return display(json, value) };
    let scale = value.scale() as usize;
    let (mut room, mut at, mut digits) = ([0; ROOM], ROOM, 0);
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
    json.extend_from_slice(&room[at..]);
}

/// Writes `YYYY-MM-DD`.
fn day(json: &mut Vec<u8>, day: NaiveDate) {
    let Some(year) = u32::try_from(day.year()).ok().filter(|&year| year <= 9999) else {
        return display(json, day);
    };
    let digit = |number: u32| b'0' + (number % 10) as u8;
    let (month, of_month) = (day.month(), day.day());
    json.extend_from_slice(&[digit(year / 1000), digit(year / 100), digit(year / 10), digit(year)]);
    json.extend_from_slice(&[b'-', digit(month / 10), digit(month)]);
    json.extend_from_slice(&[b'-', digit(of_month / 10), digit(of_month)]);
}

fn display(json: &mut Vec<u8>, value: impl std::fmt::Display) {
    // A vector takes everything.
    let _ = write!(json, "{value}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::analytics::SpendTrendView;
    use shared::analytics::SpendDay;

    #[test]
    fn a_trend_reads_as_its_view() {
        let amounts = [
            "0",
            "0.0000",
            "7",
            "0.0100",
            "123.4500",
            "12345.6789",
            "1844674407370955.1615",
            "1844674407370955.1616",
            "18446744073709551615",
            "999999999999999999999999.9999",
            "-0.5000",
            "-12",
        ];
        let days = ["2026-01-09", "1999-12-31", "0001-01-01", "9999-12-31", "+12026-02-03", "-0001-01-01"];
        let one = |(number, text): (usize, &&str)| SpendDay {
            day: days[number % days.len()].parse().unwrap(),
            spend: text.parse().unwrap(),
            week_spend: text.parse().unwrap(),
            week_days: number as i64 % 7 + 1,
        };
        let trend = |currency: &str, skipped| SpendTrend {
            currency: currency.to_owned(),
            days: amounts.iter().enumerate().skip(skipped).map(one).collect(),
        };
        for trends in [vec![], vec![trend("USD", 0)], vec![trend("EUR", 3), trend("X\"\\", amounts.len())]] {
            let text = spend_trend("c\u{1}/\"é", &trends);
            let currencies = trends.into_iter().map(Into::into).collect();
            let view = SpendTrendView { client_id: "c\u{1}/\"é".to_owned(), currencies };
            assert_eq!(String::from_utf8(text).unwrap(), serde_json::to_string(&view).unwrap());
        }
    }

    #[test]
    fn every_scale_fits() {
        for scale in 0..=28 {
            for units in [0, 1, i64::MAX] {
                let value = Decimal::from_i128_with_scale(units.into(), scale);
                let mut text = Vec::new();
                amount(&mut text, value);
                assert_eq!(String::from_utf8(text).unwrap(), value.to_string());
            }
        }
    }
}
