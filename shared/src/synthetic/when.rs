//! When things happen: more towards the end of the week, by day and in the evening; trades on working
//! days, while exchanges are open.

use super::{shapes::Weighted, text};
use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, TimeZone, Timelike, Weekday};
use chrono_tz::Tz;

/// How much happens on the days of the week, Monday first.
const WEEK: [u64; 7] = [90, 92, 96, 104, 128, 132, 78];
/// How many payments are made in the hours of a working day, and of a day of the weekend.
const PAYMENT_HOURS: [[u64; 24]; 2] = [
    [4, 2, 1, 1, 1, 3, 10, 28, 46, 44, 42, 50, 78, 66, 46, 44, 52, 74, 92, 86, 58, 36, 20, 9],
    [10, 6, 4, 2, 1, 2, 4, 10, 26, 50, 74, 86, 88, 82, 76, 72, 70, 72, 76, 74, 60, 44, 30, 18],
];
/// How many trades are made in the hours of any day.
const TRADE_HOURS: [u64; 24] =
    [0, 0, 0, 0, 0, 0, 0, 4, 10, 90, 74, 56, 44, 46, 58, 82, 64, 22, 10, 6, 4, 2, 0, 0];

const HOUR_US: u64 = 3_600_000_000;
const DAY_US: u64 = 24 * HOUR_US;
/// The clock of a day is followed in steps of this length: the offsets of zones are multiples of it.
const STEP: TimeDelta = TimeDelta::minutes(15);

/// A day as text.
pub type DayText = [u8; 10];

/// The days of a file, and what happens when on them.
pub struct Calendar {
    /// The days that times are written with.
    texts: Vec<DayText>,
    spans: Spans,
}

enum Spans {
    /// Whole days, in no zone.
    Days { weekends: Vec<bool>, days: Weighted, payments: [Weighted; 2], trades: Weighted },
    /// One day of a zone, in steps: where each begins, in microseconds since the first text's beginning.
    OneDay { weekend: bool, midnight: bool, steps: Vec<u64>, payments: Weighted, trades: Weighted },
}

/// A day that was drawn.
#[derive(Debug, Clone, Copy)]
pub struct Drawn {
    at: usize,
    /// Whether it is a Saturday or Sunday.
    pub weekend: bool,
}

fn text_of(day: NaiveDate) -> DayText {
    let mut text = *b"0000-00-00";
    // Years from 1970 to 9999 have four digits.
    text.copy_from_slice(&day.to_string().as_bytes()[..10]);
    text
}

fn is_weekend(day: NaiveDate) -> bool {
    matches!(day.weekday(), Weekday::Sat | Weekday::Sun)
}

impl Calendar {
    /// The days before `end`.
    pub fn before(end: NaiveDate, days: u32) -> Self {
        let days: Vec<NaiveDate> = (1..=u64::from(days)).rev().map(|back| end - Days::new(back)).collect();
        let weights: Vec<u64> =
            days.iter().map(|day| WEEK[day.weekday().num_days_from_monday() as usize]).collect();
        Self {
            texts: days.iter().copied().map(text_of).collect(),
            spans: Spans::Days {
                weekends: days.into_iter().map(is_weekend).collect(),
                days: Weighted::new(&weights),
                payments: PAYMENT_HOURS.map(|hours| Weighted::new(&hours)),
                trades: Weighted::new(&TRADE_HOURS),
            },
        }
    }

    /// One day of a zone: only times that its clocks show, those that they show twice included. `None` if
    /// the zone had no such day.
    pub fn of_day(day: NaiveDate, zone: Tz) -> Option<Self> {
        let around = TimeDelta::hours(16);
        let midnight = day.and_hms_opt(0, 0, 0)?.and_utc();
        let first_text = day.pred_opt()?;
        let origin = first_text.and_hms_opt(0, 0, 0)?.and_utc();
        let local_day = |at: DateTime<chrono::Utc>| zone.from_utc_datetime(&at.naive_utc()).date_naive();
        let (mut steps, mut hours) = (Vec::new(), Vec::new());
        let mut at = midnight - around;
        while at < midnight + TimeDelta::days(1) + around {
            let last = at + STEP - TimeDelta::microseconds(1);
            if local_day(at) == day && local_day(last) == day {
                steps.push((at - origin).num_microseconds()?.unsigned_abs());
                hours.push(zone.from_utc_datetime(&at.naive_utc()).hour() as usize);
            }
            at += STEP;
        }
        if steps.is_empty() {
            return None;
        }
        let weekend = is_weekend(day);
        let of = |weights: &[u64; 24]| hours.iter().map(|&hour| weights[hour]).collect::<Vec<_>>();
        Some(Self {
            texts: (0..3).map(|days| text_of(first_text + Days::new(days))).collect(),
            spans: Spans::OneDay {
                weekend,
                midnight: zone.from_local_datetime(&midnight.naive_utc()).earliest().is_some(),
                payments: Weighted::new(&of(&PAYMENT_HOURS[usize::from(weekend)])),
                trades: Weighted::new(&of(&TRADE_HOURS)),
                steps,
            },
        })
    }

    /// The day that 32 random bits fall to.
    pub fn day(&self, bits: u32) -> Drawn {
        match &self.spans {
            Spans::Days { weekends, days, .. } => {
                let at = days.draw(bits);
                Drawn { at, weekend: weekends[at] }
            }
            Spans::OneDay { weekend, .. } => Drawn { at: 0, weekend: *weekend },
        }
    }

    /// Writes a day without a time; its first moment, if the zone's clocks skipped its midnight.
    pub fn write_day(&self, out: &mut Vec<u8>, day: Drawn) {
        match &self.spans {
            Spans::Days { .. } => out.extend_from_slice(&self.texts[day.at]),
            Spans::OneDay { midnight: true, .. } => out.extend_from_slice(&self.texts[1]),
            Spans::OneDay { steps, .. } => {
                text::instant(out, &self.texts[(steps[0] / DAY_US) as usize], steps[0] % DAY_US);
            }
        }
    }

    /// A time of a day that was drawn: the day to write, and the microseconds since its beginning.
    pub fn time(&self, day: Drawn, trade: bool, hour: u32, within: u32) -> (&DayText, u64) {
        let scaled = |length: u64| (u64::from(within) * length) >> 32;
        match &self.spans {
            Spans::Days { payments, trades, .. } => {
                let hours = if trade { trades } else { &payments[usize::from(day.weekend)] };
                let micros = hours.draw(hour) as u64 * HOUR_US + scaled(HOUR_US);
                (&self.texts[day.at], micros)
            }
            Spans::OneDay { steps, payments, trades, .. } => {
                let table = if trade { trades } else { payments };
                let micros = steps[table.draw(hour)] + scaled(HOUR_US / 4);
                (&self.texts[(micros / DAY_US) as usize], micros % DAY_US)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Tz::{America__New_York, Australia__Lord_Howe, Europe__Berlin, Pacific__Apia, UTC};

    fn steps(day: &str, zone: Tz) -> Option<usize> {
        match Calendar::of_day(day.parse().unwrap(), zone)?.spans {
            Spans::OneDay { steps, .. } => Some(steps.len()),
            Spans::Days { .. } => None,
        }
    }

    #[test]
    fn days_are_as_long_as_their_zone_has_them() {
        for (day, zone, quarters) in [
            ("2026-03-29", UTC, 96),
            ("2026-03-29", Europe__Berlin, 92),
            ("2026-10-25", Europe__Berlin, 100),
            ("2026-03-08", America__New_York, 92),
            ("2026-11-01", America__New_York, 100),
            ("2026-04-05", Australia__Lord_Howe, 98),
        ] {
            assert_eq!(steps(day, zone), Some(quarters), "{day} in {zone}");
        }
        assert!(Calendar::of_day("2011-12-30".parse().unwrap(), Pacific__Apia).is_none());
    }

    #[test]
    fn every_time_of_a_day_is_of_that_day_in_its_zone() {
        for (day, zone) in [("2026-03-29", Europe__Berlin), ("2026-11-01", America__New_York)] {
            let day: NaiveDate = day.parse().unwrap();
            let calendar = Calendar::of_day(day, zone).unwrap();
            let drawn = calendar.day(0);
            for bits in (0..10_000u32).map(|step| step.wrapping_mul(2_654_435_769)) {
                let (date, micros) = calendar.time(drawn, false, bits, bits.rotate_left(16));
                let date: NaiveDate = std::str::from_utf8(date).unwrap().parse().unwrap();
                let at = date.and_hms_opt(0, 0, 0).unwrap() + TimeDelta::microseconds(micros.cast_signed());
                assert_eq!(zone.from_utc_datetime(&at).date_naive(), day);
            }
        }
    }
}
