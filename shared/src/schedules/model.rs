//! A schedule, its ticks, and the policies that it has.

use super::{cron::Expression, timetable::Timetable};
use crate::{
    ids::{RunId, ScheduleId},
    schema::{schedule_ticks, schedules},
};
use chrono::{DateTime, Utc};
use diesel::prelude::*;

text_enum! {
    /// What becomes of a time that a day does not have, because the clock goes forward.
    MissingTime {
        /// It is left out.
        Skip = "skip",
        /// It is later by as much as the clock goes forward.
        Shift = "shift",
    }
}

text_enum! {
    /// What becomes of a time that comes twice, because the clock goes back.
    RepeatedTime {
        /// It fires the first time.
        First = "first",
        /// It fires the second time.
        Second = "second",
        /// It fires both times.
        Both = "both",
    }
}

text_enum! {
    /// What becomes of ticks that were missed because no scheduler ran.
    CatchUp {
        /// They are noted as missed.
        Skip = "skip",
        /// The last of them fires.
        Once = "once",
        /// The last `catch_up_limit` of them fire, one after the other.
        All = "all",
    }
}

text_enum! {
    /// What a tick does while the run of an earlier one has not ended.
    Overlap {
        /// It is left out.
        Skip = "skip",
        /// It waits until that run has ended.
        Queue = "queue",
        /// That run is asked to stop; the tick waits until it has.
        CancelRunning = "cancel_running",
        /// It fires; both run.
        Allow = "allow",
    }
}

text_enum! {
    /// What became of a tick.
    TickOutcome {
        /// A run was made for it.
        Fired = "fired",
        /// A run that excludes others of its kind stood for it.
        Joined = "joined",
        /// It waits for the end of an earlier tick's run, or for its turn in a backfill.
        Waiting = "waiting",
        /// It was left out; the reason says why.
        Skipped = "skipped",
        /// No scheduler ran when it was due, and it was not caught up.
        Missed = "missed",
        /// Its run could not be made; the reason says why.
        Refused = "refused",
    }
}

text_enum! {
    /// Why there is a tick.
    TickCause {
        /// It was due.
        Clock = "clock",
        /// It had been missed.
        CatchUp = "catch_up",
        /// Somebody ran the schedule by hand.
        Manual = "manual",
        /// Somebody asked for times that have passed.
        Backfill = "backfill",
    }
}

/// A job on a clock.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = schedules, check_for_backend(diesel::pg::Pg))]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// Its name, by which it is addressed.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The cron expression.
    pub cron: String,
    /// IANA name of the zone whose clock counts.
    pub zone: String,
    /// The kind of its runs.
    pub kind: String,
    /// Their arguments, with placeholders.
    pub args: serde_json::Value,
    /// Overrides the kind's priority.
    pub priority: Option<i16>,
    /// For times that do not exist.
    pub missing: MissingTime,
    /// For times that come twice.
    pub repeated: RepeatedTime,
    /// For ticks that were missed.
    pub catch_up: CatchUp,
    /// How many of them, where all are caught up.
    pub catch_up_limit: i32,
    /// For ticks that come while a run goes on.
    pub overlap: Overlap,
    /// The next tick; none while it is paused for good, or if there is none.
    pub next_at: Option<DateTime<Utc>>,
    /// The last tick that came, whatever became of it.
    pub last_at: Option<DateTime<Utc>>,
    /// The run of the last tick that fired by the clock.
    pub last_run_id: Option<RunId>,
    /// Since when it is paused.
    pub paused_at: Option<DateTime<Utc>>,
    /// It fires again from then on by itself.
    pub paused_until: Option<DateTime<Utc>>,
    /// Who paused it.
    pub paused_by: Option<String>,
    /// What who paused it said.
    pub pause_reason: Option<String>,
    /// Whether every installation has it: it can be changed and paused, not deleted.
    pub built_in: bool,
    /// Grows with every change.
    pub version: i32,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl Schedule {
    /// When it fires; the error is for a zone or an expression that this version no longer knows.
    pub fn timetable(&self) -> Result<Timetable, String> {
        Ok(Timetable {
            expression: Expression::read(&self.cron)?,
            zone: self.zone.parse().map_err(|_| format!("there is no zone {:?}", self.zone))?,
            missing: self.missing,
            repeated: self.repeated,
        })
    }

    /// Whether it does not fire at `now` because somebody paused it.
    pub fn is_paused(&self, now: DateTime<Utc>) -> bool {
        self.paused_at.is_some() && self.paused_until.is_none_or(|until| until > now)
    }
}

/// A tick of a schedule at its nominal time, that of the expression.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = schedule_ticks, check_for_backend(diesel::pg::Pg))]
pub struct Tick {
    /// Whose.
    pub schedule_id: ScheduleId,
    /// Its time.
    pub nominal_at: DateTime<Utc>,
    /// What became of it.
    pub outcome: TickOutcome,
    /// Why there is one.
    pub cause: TickCause,
    /// Why it did not fire.
    pub reason: Option<String>,
    /// The run that stands for it.
    pub run_id: Option<RunId>,
    /// The state in which that run was removed from the record.
    pub run_ended: Option<crate::runs::RunState>,
    /// The run of the backfill that wants it.
    pub backfill_id: Option<RunId>,
    /// When the run was made, or the tick decided.
    pub fired_at: DateTime<Utc>,
}
