//! Times that have passed, run after all: by default those without a run, or whose run failed. A backfill is a
//! run; its ticks wait for it, and it lets a few run at once, behind all live work.

use super::{
    error::ScheduleError,
    jobs::BackfillSchedule,
    making,
    model::{Schedule, TickOutcome},
    queries,
};
use crate::{
    ids::RunId,
    runs::{EnqueueOptions, RunState, enqueue},
};
use chrono::{DateTime, SecondsFormat, Utc};
use diesel_async::AsyncPgConnection;
use std::collections::HashMap;

/// Times of one backfill.
pub const MAX_TIMES: usize = 10_000;
/// Runs of one that may run at once.
pub const MAX_AT_ONCE: i32 = 50;

/// Which times are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// From this moment on.
    pub from: DateTime<Utc>,
    /// Before this one.
    pub until: DateTime<Utc>,
    /// Also those that are done.
    pub all: bool,
}

text_enum! {
    /// How a time that has passed stands.
    Standing {
        /// It has had no run.
        Missing = "missing",
        /// Its run has failed, or was cancelled.
        Failed = "failed",
        /// Its run has completed.
        Done = "done",
        /// Its run goes on, or it waits for its turn.
        Active = "active",
    }
}

/// A time that has passed.
#[derive(Debug, Clone, Copy)]
pub struct PastTime {
    /// When it was.
    pub nominal_at: DateTime<Utc>,
    /// How it stands.
    pub standing: Standing,
    /// The run that stands for it.
    pub run_id: Option<RunId>,
    /// Whether the backfill would run it.
    pub chosen: bool,
}

/// The schedule's times in a range, and which of them a backfill would run.
pub async fn times(
    conn: &mut AsyncPgConnection,
    schedule: &Schedule,
    wanted: Wanted,
) -> Result<Vec<PastTime>, ScheduleError> {
    let refuse = |why: String| Err(ScheduleError::NoBackfill(why));
    let now = queries::now(conn).await?;
    if wanted.from >= wanted.until {
        return refuse("The range is empty: it ends before it begins.".to_owned());
    }
    if wanted.from > now {
        let now = now.to_rfc3339_opts(SecondsFormat::Secs, true);
        return refuse(format!(
            "A backfill is of times that have passed; it is {now}. What is to come fires by itself."
        ));
    }
    let timetable = schedule.timetable().map_err(ScheduleError::NoBackfill)?;
    let until = wanted.until.min(now);
    let moments: Vec<DateTime<Utc>> = timetable.between(wanted.from, until).take(MAX_TIMES + 1).collect();
    if moments.len() > MAX_TIMES {
        return refuse(format!("The range holds more than {MAX_TIMES} times; take a shorter one."));
    }
    let ticks = queries::ticks_between(conn, schedule.id, wanted.from, until).await?;
    let ticks: HashMap<DateTime<Utc>, _> = ticks.into_iter().map(|line| (line.0.nominal_at, line)).collect();
    let past = |nominal_at: DateTime<Utc>| {
        let tick = ticks.get(&nominal_at);
        let standing = tick.map_or(Standing::Missing, |(tick, state)| standing(tick.outcome, *state));
        let chosen = match standing {
            Standing::Missing | Standing::Failed => true,
            Standing::Done => wanted.all,
            Standing::Active => false,
        };
        PastTime { nominal_at, standing, run_id: tick.and_then(|(tick, _)| tick.run_id), chosen }
    };
    Ok(moments.into_iter().map(past).collect())
}

fn standing(outcome: TickOutcome, run: Option<RunState>) -> Standing {
    match (outcome, run) {
        (TickOutcome::Waiting, _) => Standing::Active,
        (TickOutcome::Skipped | TickOutcome::Missed | TickOutcome::Refused, _) => Standing::Missing,
        (_, Some(RunState::Failed | RunState::Cancelled | RunState::Discarded)) => Standing::Failed,
        // A run that is no longer known has left its end, unless it was removed by hand.
        (_, Some(RunState::Completed) | None) => Standing::Done,
        (_, Some(_)) => Standing::Active,
    }
}

/// Starts a backfill in the caller's transaction; how many times it will run. Ring the doorbell of the queue
/// `default` afterwards.
pub async fn start(
    conn: &mut AsyncPgConnection,
    name: &str,
    wanted: Wanted,
    at_once: i32,
    by: &str,
) -> Result<(RunId, usize), ScheduleError> {
    if !(1..=MAX_AT_ONCE).contains(&at_once) {
        return Err(ScheduleError::NoBackfill(format!("Runs at once are a number from 1 to {MAX_AT_ONCE}.")));
    }
    // Two that are asked for at once do not both choose the same times.
    let schedule = queries::lock(conn, name).await?;
    let schedule = schedule.ok_or_else(|| ScheduleError::NotFound(name.to_owned()))?;
    let times = times(conn, &schedule, wanted).await?;
    let chosen: Vec<DateTime<Utc>> =
        times.iter().filter(|time| time.chosen).map(|time| time.nominal_at).collect();
    if chosen.is_empty() {
        let active = times.iter().filter(|time| time.standing == Standing::Active).count();
        let help = match active {
            0 => "Ask for all of them to run them again.".to_owned(),
            active => format!(
                "{active} of them run or wait for their turn just now, by another backfill or by the clock."
            ),
        };
        let times = times.len();
        return Err(ScheduleError::NoBackfill(format!(
            "Nothing is to be done: of the {times} times in the range none is missing or has failed. {help}"
        )));
    }
    let job = BackfillSchedule { schedule: schedule.id, name: schedule.name, at_once };
    let run = enqueue(conn, &job, &EnqueueOptions::by(by)).await?;
    making::wait_for_backfill(conn, schedule.id, &chosen, run.id).await?;
    Ok((run.id, chosen.len()))
}
