//! When a schedule fires: an expression's times on the wall clock of a zone, as moments. Where the clock
//! goes forward some times do not exist, where it goes back some come twice; the policies say what then.
//! Held to an independent implementation over 20 years by `fire_times_are_those_of_croniter`.

use super::{
    cron::Expression,
    model::{MissingTime, RepeatedTime},
};
use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// No zone has changed its clock by more at once, nor twice within it.
const AROUND: TimeDelta = TimeDelta::hours(26);
/// Times on the wall that are looked at for such as are left out.
const LEFT_OUT_LOOKS: usize = 1000;

/// When a schedule fires.
#[derive(Debug, Clone)]
pub struct Timetable {
    /// The times on the wall.
    pub expression: Expression,
    /// Whose wall.
    pub zone: Tz,
    /// What becomes of a time that does not exist.
    pub missing: MissingTime,
    /// What becomes of a time that comes twice.
    pub repeated: RepeatedTime,
}

/// How a change of the clock touches a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClockChange {
    /// Not at all.
    None,
    /// It comes twice; this is the first.
    First,
    /// It comes twice; this is the second.
    Second,
    /// It does not exist and is later by as much as the clock goes forward.
    Shifted,
    /// It does not exist and is left out.
    Skipped,
    /// It comes twice, and this one is left out.
    NotAgain,
}

/// A time of a timetable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Occurrence {
    /// The moment; of one that is left out, where it would have been.
    pub at: DateTime<Utc>,
    /// The time on the wall that the expression means.
    pub wall: NaiveDateTime,
    /// Whether a change of the clock is in play.
    pub change: ClockChange,
}

impl Occurrence {
    /// Whether it fires, and is not left out.
    pub fn fires(&self) -> bool {
        !matches!(self.change, ClockChange::Skipped | ClockChange::NotAgain)
    }
}

impl Timetable {
    /// The first moment after `after` at which it fires; `None` if there is none.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.next(after).map(|found| found.at)
    }

    /// The next `count` times at which it fires after `after`, and between them those that are left out because of
    /// a change of the clock.
    pub fn upcoming(&self, after: DateTime<Utc>, count: usize) -> Vec<Occurrence> {
        let mut found: Vec<Occurrence> =
            std::iter::successors(self.next(after), |one| self.next(one.at)).take(count).collect();
        let Some(last) = found.last().map(|one| one.at) else { return found };
        let mut wall = after.naive_utc() + self.offsets(after).0;
        for _ in 0..LEFT_OUT_LOOKS {
            let Some(next) = self.expression.next_from(wall) else { break };
            if next > last.naive_utc() + self.offsets(last).1 {
                break;
            }
            let left_out = |one: &Occurrence| !one.fires() && one.at > after && one.at <= last;
            found.extend(self.moments(next).into_iter().filter(left_out));
            wall = next + TimeDelta::seconds(1);
        }
        found.sort_by_key(|one| (one.at, one.change));
        found
    }

    /// Moments in `from..until`.
    pub fn between(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        let first = self.next_after(from - TimeDelta::microseconds(1));
        std::iter::successors(first, |at| self.next_after(*at)).take_while(move |at| *at < until)
    }

    fn next(&self, after: DateTime<Utc>) -> Option<Occurrence> {
        // No later time on the wall is a moment after `after`.
        let mut wall = after.naive_utc() + self.offsets(after).0;
        let mut best: Option<Occurrence> = None;
        loop {
            let Some(found) = self.expression.next_from(wall) else { return best };
            if let Some(best) = best
                && found - self.offsets(best.at).1 > best.at.naive_utc()
            {
                return Some(best);
            }
            for occurrence in self.moments(found) {
                let order = |one: &Occurrence| (one.at, one.change);
                let sooner = best.is_none_or(|best| order(&occurrence) < order(&best));
                if occurrence.fires() && occurrence.at > after && sooner {
                    best = Some(occurrence);
                }
            }
            wall = found + TimeDelta::seconds(1);
        }
    }

    /// Smallest and largest distance of the zone's clock from UTC around a moment.
    fn offsets(&self, at: DateTime<Utc>) -> (TimeDelta, TimeDelta) {
        let offset = |at: DateTime<Utc>| self.offset(at.naive_utc());
        let around = [offset(at - AROUND), offset(at), offset(at + AROUND)];
        (around.into_iter().min().unwrap_or_default(), around.into_iter().max().unwrap_or_default())
    }

    fn offset(&self, utc: NaiveDateTime) -> TimeDelta {
        TimeDelta::seconds(self.zone.offset_from_utc_datetime(&utc).fix().local_minus_utc().into())
    }

    /// The moments that a time on the wall is: none, one or two.
    fn moments(&self, wall: NaiveDateTime) -> Vec<Occurrence> {
        let occurrence = |at: DateTime<Utc>, change| Occurrence { at, wall, change };
        match self.zone.from_local_datetime(&wall) {
            MappedLocalTime::Single(at) => vec![occurrence(at.to_utc(), ClockChange::None)],
            MappedLocalTime::Ambiguous(one, other) => {
                let first = occurrence(one.min(other).to_utc(), ClockChange::First);
                let second = occurrence(one.max(other).to_utc(), ClockChange::Second);
                let left_out = |one: Occurrence| Occurrence { change: ClockChange::NotAgain, ..one };
                match self.repeated {
                    RepeatedTime::First => vec![first, left_out(second)],
                    RepeatedTime::Second => vec![left_out(first), second],
                    RepeatedTime::Both => vec![first, second],
                }
            }
            MappedLocalTime::None => {
                let before = self.offset(wall - TimeDelta::hours(24));
                let change = match self.missing {
                    MissingTime::Shift => ClockChange::Shifted,
                    MissingTime::Skip => ClockChange::Skipped,
                };
                vec![occurrence((wall - before).and_utc(), change)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(cron: &str, zone: &str, missing: MissingTime, repeated: RepeatedTime) -> Timetable {
        let expression = Expression::read(cron).unwrap();
        Timetable { expression, zone: zone.parse().unwrap(), missing, repeated }
    }

    fn fires(table: &Timetable, after: &str, count: usize) -> Vec<String> {
        let after = after.parse().unwrap();
        let found = table.upcoming(after, count).into_iter();
        found.map(|one| format!("{} {:?}", one.at.format("%dT%H:%M"), one.change)).collect()
    }

    #[test]
    fn where_the_clock_goes_forward_a_time_is_left_out_or_later() {
        let (after, zone) = ("2026-03-28T12:00:00Z", "Europe/Berlin");
        let table_of = |missing| table("30 2 * * *", zone, missing, RepeatedTime::First);
        assert_eq!(fires(&table_of(MissingTime::Skip), after, 1), ["29T01:30 Skipped", "30T00:30 None"]);
        assert_eq!(fires(&table_of(MissingTime::Shift), after, 2), ["29T01:30 Shifted", "30T00:30 None"]);
        // Together with the time that it is moved to it is one.
        let both = table("30 2,3 * * *", zone, MissingTime::Shift, RepeatedTime::First);
        assert_eq!(fires(&both, after, 2), ["29T01:30 None", "30T00:30 None"]);
        let halves = table("*/30 * * * *", zone, MissingTime::Skip, RepeatedTime::First);
        let seen = fires(&halves, "2026-03-29T00:30:00Z", 1);
        assert_eq!(seen, ["29T01:00 None", "29T01:00 Skipped"]);
    }

    #[test]
    fn where_the_clock_goes_back_a_time_comes_first_second_or_both() {
        let (after, zone) = ("2026-10-24T12:00:00Z", "Europe/Berlin");
        let table_of = |repeated| table("30 2 * * *", zone, MissingTime::Skip, repeated);
        assert_eq!(
            fires(&table_of(RepeatedTime::First), after, 2),
            ["25T00:30 First", "25T01:30 NotAgain", "26T01:30 None"]
        );
        assert_eq!(
            fires(&table_of(RepeatedTime::Second), after, 2),
            ["25T00:30 NotAgain", "25T01:30 Second", "26T01:30 None"]
        );
        let both = ["25T00:30 First", "25T01:30 Second", "26T01:30 None"];
        assert_eq!(fires(&table_of(RepeatedTime::Both), after, 3), both);
    }

    #[test]
    fn an_hourly_schedule_misses_no_hour() {
        let hourly = table("0 * * * *", "Australia/Lord_Howe", MissingTime::Skip, RepeatedTime::Both);
        let (from, until) =
            ("2026-04-04T00:00:00Z".parse().unwrap(), "2026-04-05T00:00:00Z".parse().unwrap());
        assert_eq!(hourly.between(from, until).count(), 24);
    }

    #[test]
    fn a_time_that_never_comes_is_none() {
        let never = table("0 0 30 2 *", "UTC", MissingTime::Skip, RepeatedTime::First);
        assert_eq!(never.next_after(DateTime::UNIX_EPOCH), None);
    }
}
