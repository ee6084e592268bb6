//! A schedule's time and policies in words.

use shared::schedules::{CatchUp, MissingTime, Overlap, RepeatedTime, Schedule, TickCause};

/// `At 00:01, Europe/Berlin.`
pub(super) fn of(schedule: &Schedule) -> String {
    match schedule.timetable() {
        Ok(timetable) => timetable.expression.words(),
        Err(why) => format!("It does not fire: {why}."),
    }
}

/// Why there was a tick.
pub(super) fn cause(cause: TickCause) -> &'static str {
    match cause {
        TickCause::Clock => "on time",
        TickCause::CatchUp => "caught up",
        TickCause::Manual => "by hand",
        TickCause::Backfill => "filled in",
    }
}

/// What each policy does.
pub(super) fn policies(schedule: &Schedule) -> Vec<(&'static str, String)> {
    vec![
        ("If a day does not have the time", missing(schedule.missing).to_owned()),
        ("If a day has it twice", repeated(schedule.repeated).to_owned()),
        ("If no scheduler ran", caught_up(schedule)),
        ("While a run goes on", overlap(schedule.overlap).to_owned()),
    ]
}

/// For times that do not exist.
pub(super) fn missing(policy: MissingTime) -> &'static str {
    match policy {
        MissingTime::Skip => "it is left out",
        MissingTime::Shift => "it fires later, by as much as the clock goes forward",
    }
}

/// For times that come twice.
pub(super) fn repeated(policy: RepeatedTime) -> &'static str {
    match policy {
        RepeatedTime::First => "it fires the first time",
        RepeatedTime::Second => "it fires the second time",
        RepeatedTime::Both => "it fires both times",
    }
}

fn caught_up(schedule: &Schedule) -> String {
    match schedule.catch_up {
        CatchUp::Skip => "what was missed is noted, and stays so".to_owned(),
        CatchUp::Once => "the last that was missed fires".to_owned(),
        CatchUp::All => {
            format!("the last {} that were missed fire, one after the other", schedule.catch_up_limit)
        }
    }
}

/// For ticks that come while a run goes on.
pub(super) fn overlap(policy: Overlap) -> &'static str {
    match policy {
        Overlap::Skip => "the next tick is left out",
        Overlap::Queue => "the next tick waits for its end",
        Overlap::CancelRunning => "it is cancelled, and the next tick waits for its end",
        Overlap::Allow => "the next tick fires all the same",
    }
}
