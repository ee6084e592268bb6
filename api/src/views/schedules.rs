//! Schedules, their ticks and alerts as JSON.

use super::queues::PauseView;
use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use shared::{
    runs::RunState,
    schedules::{
        CatchUp, ClockChange, MissingTime, Occurrence, Overlap, RepeatedTime, Schedule, Tick, TickCause,
        TickOutcome,
        alerts::Alert,
        backfill::{PastTime, Standing},
    },
};
use utoipa::ToSchema;

/// Times that are shown of a schedule.
pub const UPCOMING: usize = 5;

/// A time to come.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OccurrenceView {
    /// The moment, in UTC.
    pub at: DateTime<Utc>,
    /// The same on the clock of the schedule's zone.
    #[schema(example = "2026-11-28T00:01:00+01:00")]
    pub local: String,
    /// How a change of the clock touches it: null if it does not.
    #[schema(value_type = Option<String>, example = "shifted")]
    pub clock_change: Option<&'static str>,
    /// False if it is left out because the day does not have it.
    pub fires: bool,
    /// The same in words, where the clock changes.
    pub note: Option<String>,
}

impl OccurrenceView {
    /// How an occurrence looks in a zone.
    pub fn new(occurrence: &Occurrence, zone: Tz) -> Self {
        let local = occurrence.at.with_timezone(&zone);
        let clock_change = match occurrence.change {
            ClockChange::None => None,
            ClockChange::First => Some("first"),
            ClockChange::Second => Some("second"),
            ClockChange::Shifted => Some("shifted"),
            ClockChange::Skipped => Some("skipped"),
            ClockChange::NotAgain => Some("not_again"),
        };
        Self {
            at: occurrence.at,
            local: local.to_rfc3339_opts(SecondsFormat::Secs, false),
            clock_change,
            fires: occurrence.fires(),
            note: note(occurrence, local.format("%H:%M").to_string()),
        }
    }
}

/// What a change of the clock does to a time.
fn note(occurrence: &Occurrence, local: String) -> Option<String> {
    let wall = occurrence.wall.format("%H:%M");
    Some(match occurrence.change {
        ClockChange::None => return None,
        ClockChange::First => format!("The clock goes back: {wall} comes twice, this is the first."),
        ClockChange::Second => format!("The clock goes back: {wall} comes twice, this is the second."),
        ClockChange::Shifted => format!("The clock goes forward: there is no {wall}, it fires at {local}."),
        ClockChange::NotAgain => format!("The clock goes back: {wall} comes twice, this one is left out."),
        ClockChange::Skipped => format!("The clock goes forward: there is no {wall}, so it is left out."),
    })
}

/// A job on a clock.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScheduleView {
    /// Its name.
    #[schema(example = "nightly_data")]
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The cron expression.
    #[schema(example = "1 0 * * *")]
    pub cron: String,
    /// The expression in words.
    #[schema(example = "At 00:01.")]
    pub cron_words: Option<String>,
    /// IANA name of the zone whose clock counts.
    #[schema(example = "Europe/Berlin")]
    pub zone: String,
    /// The kind of its runs.
    pub kind: String,
    /// Their arguments, with placeholders.
    #[schema(value_type = Object)]
    pub args: serde_json::Value,
    /// Priority of its runs; the kind's if null.
    pub priority: Option<i16>,
    /// What becomes of a time that does not exist: `skip`, `shift`.
    #[schema(value_type = String)]
    pub missing: MissingTime,
    /// What becomes of a time that comes twice: `first`, `second`, `both`.
    #[schema(value_type = String)]
    pub repeated: RepeatedTime,
    /// What becomes of ticks that were missed: `skip`, `once`, `all`.
    #[schema(value_type = String)]
    pub catch_up: CatchUp,
    /// How many of them, where all are caught up.
    pub catch_up_limit: i32,
    /// What a tick does while an earlier one's run goes on: `skip`, `queue`, `cancel_running`, `allow`.
    #[schema(value_type = String)]
    pub overlap: Overlap,
    /// Whether it fires by itself.
    pub enabled: bool,
    /// How it is paused; null if it is not.
    pub paused: Option<PauseView>,
    /// When it fires next; null if it does not.
    pub next_at: Option<DateTime<Utc>>,
    /// The next five times, with what changes of the clock do to them.
    pub upcoming: Vec<OccurrenceView>,
    /// The last tick that came.
    pub last_at: Option<DateTime<Utc>>,
    /// The run of the last tick that fired.
    pub last_run_id: Option<String>,
    /// Whether every installation has it: it can be changed and paused, not deleted.
    pub built_in: bool,
    /// Grows with every change; send it with a change, and who was faster is not overwritten.
    pub version: i32,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl ScheduleView {
    /// How a schedule stands at `now`.
    pub fn new(schedule: Schedule, now: DateTime<Utc>) -> Self {
        let timetable = schedule.timetable().ok();
        let upcoming = upcoming(&schedule, now);
        let paused = schedule.is_paused(now);
        Self {
            cron_words: timetable.map(|timetable| timetable.expression.words()),
            upcoming: upcoming.1.iter().map(|one| OccurrenceView::new(one, upcoming.0)).collect(),
            enabled: !paused,
            paused: paused.then(|| PauseView {
                until: schedule.paused_until,
                reason: schedule.pause_reason.clone(),
                by: schedule.paused_by.clone().unwrap_or_default(),
                at: schedule.paused_at.unwrap_or(schedule.updated_at),
            }),
            name: schedule.name,
            description: schedule.description,
            cron: schedule.cron,
            zone: schedule.zone,
            kind: schedule.kind,
            args: schedule.args,
            priority: schedule.priority,
            missing: schedule.missing,
            repeated: schedule.repeated,
            catch_up: schedule.catch_up,
            catch_up_limit: schedule.catch_up_limit,
            overlap: schedule.overlap,
            next_at: schedule.next_at,
            last_at: schedule.last_at,
            last_run_id: schedule.last_run_id.map(|run| run.to_string()),
            built_in: schedule.built_in,
            version: schedule.version,
            created_by: schedule.created_by,
            created_at: schedule.created_at,
            updated_at: schedule.updated_at,
        }
    }
}

/// The next times of a schedule under its pause, and the zone that they are shown in.
pub fn upcoming(schedule: &Schedule, now: DateTime<Utc>) -> (Tz, Vec<Occurrence>) {
    let Ok(timetable) = schedule.timetable() else { return (Tz::UTC, Vec::new()) };
    let from = match (schedule.is_paused(now), schedule.paused_until) {
        (true, None) => return (timetable.zone, Vec::new()),
        (true, Some(until)) => until.max(now),
        (false, _) => now,
    };
    (timetable.zone, timetable.upcoming(from, UPCOMING))
}

/// An expression, read.
#[derive(Debug, Serialize, ToSchema)]
pub struct CronView {
    /// The expression in words.
    pub words: String,
    /// The policy for times that come twice that suits it.
    #[schema(value_type = String)]
    pub repeated: RepeatedTime,
    /// Its next times.
    pub upcoming: Vec<OccurrenceView>,
}

/// A tick of a schedule.
#[derive(Debug, Serialize, ToSchema)]
pub struct TickView {
    /// Its time.
    pub nominal_at: DateTime<Utc>,
    /// What became of it: `fired`, `joined`, `waiting`, `skipped`, `missed`, `refused`.
    #[schema(value_type = String)]
    pub outcome: TickOutcome,
    /// Why there is one: `clock`, `catch_up`, `manual`, `backfill`.
    #[schema(value_type = String)]
    pub cause: TickCause,
    /// Why it did not fire.
    pub reason: Option<String>,
    /// The run that stands for it.
    pub run_id: Option<String>,
    /// The state of that run, the last if it is gone by now.
    #[schema(value_type = Option<String>)]
    pub run_state: Option<RunState>,
    /// When its run was made, or it was decided that there is none.
    pub fired_at: DateTime<Utc>,
}

impl TickView {
    /// A tick with the state of its run.
    pub fn new((tick, run_state): (Tick, Option<RunState>)) -> Self {
        Self {
            nominal_at: tick.nominal_at,
            outcome: tick.outcome,
            cause: tick.cause,
            reason: tick.reason,
            run_id: tick.run_id.map(|run| run.to_string()),
            run_state,
            fired_at: tick.fired_at,
        }
    }
}

/// A time that has passed, as a backfill sees it.
#[derive(Debug, Serialize, ToSchema)]
pub struct PastTimeView {
    /// When it was.
    pub nominal_at: DateTime<Utc>,
    /// How it stands: `missing`, `failed`, `done`, `active`.
    #[schema(value_type = String)]
    pub standing: Standing,
    /// The run that stands for it.
    pub run_id: Option<String>,
    /// Whether the backfill would run it.
    pub chosen: bool,
}

impl From<PastTime> for PastTimeView {
    fn from(time: PastTime) -> Self {
        Self {
            nominal_at: time.nominal_at,
            standing: time.standing,
            run_id: time.run_id.map(|run| run.to_string()),
            chosen: time.chosen,
        }
    }
}

/// What a backfill would do.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackfillView {
    /// How many times it would run.
    pub chosen: usize,
    /// All times of the range.
    pub times: Vec<PastTimeView>,
}

/// What somebody has to look at.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertView {
    /// Its number.
    pub id: i64,
    /// `schedule_overdue`, `schedule_missed`, `schedule_unstarted`, `schedule_refused`.
    pub kind: String,
    /// The schedule's name.
    pub subject: String,
    /// What has happened.
    pub message: String,
    /// When it was noticed.
    pub raised_at: DateTime<Utc>,
    /// When it ended by itself.
    pub resolved_at: Option<DateTime<Utc>>,
    /// When somebody had seen it.
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// Who.
    pub acknowledged_by: Option<String>,
}

impl From<Alert> for AlertView {
    fn from(alert: Alert) -> Self {
        Self {
            id: alert.id,
            kind: alert.kind,
            subject: alert.subject,
            message: alert.message,
            raised_at: alert.raised_at,
            resolved_at: alert.resolved_at,
            acknowledged_at: alert.acknowledged_at,
            acknowledged_by: alert.acknowledged_by,
        }
    }
}
