//! What the leading scheduler does, a schedule at a time: fires what is due, decides what of the past is
//! caught up, lets go what has waited for the end of a run. Each is one transaction under the schedule's row, by
//! the database's clock: a crash leaves the tick to the next leader, and two leaders fire it once.

use super::{
    alerts,
    error::ScheduleError,
    making::{self, Made},
    model::{CatchUp, Overlap, Schedule, TickCause, TickOutcome},
    queries,
    timetable::Timetable,
};
use crate::{
    ids::ScheduleId,
    runs::{Queue, RunError, cancel_run, registry::Kind},
    schema::{schedule_ticks, schedules},
};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use std::collections::VecDeque;

/// A tick that comes no later than this is on time, whatever the policy for missed ones: a scheduler that dies is
/// followed within five seconds, and a restart takes no longer than this.
pub const GRACE: TimeDelta = TimeDelta::seconds(15);
/// Missed ticks that are noted one by one; of more only the number is.
const NOTED: usize = 100;
/// Ticks of a schedule that may wait for the end of a run.
const MAX_WAITING: usize = 1000;

/// What a look at a schedule did.
#[derive(Debug, Default)]
pub struct Fired {
    /// Its name.
    pub schedule: String,
    /// Runs that were made.
    pub runs: usize,
    /// Whose doorbell is to be rung.
    pub queue: Option<Queue>,
}

/// What is to become of the ticks that have come.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// These fire, in this order.
    pub fire: Vec<(DateTime<Utc>, TickCause)>,
    /// The last of those that do not.
    pub missed: VecDeque<DateTime<Utc>>,
    /// How many do not.
    pub missed_count: u64,
    /// The last tick that came.
    pub last: Option<DateTime<Utc>>,
    /// The first that is to come.
    pub next: Option<DateTime<Utc>>,
}

impl Plan {
    /// For the ticks from `first` to `now`.
    pub fn of(
        timetable: &Timetable,
        first: DateTime<Utc>,
        now: DateTime<Utc>,
        catch_up: CatchUp,
        limit: usize,
    ) -> Self {
        let wanted = match catch_up {
            CatchUp::Skip => 0,
            CatchUp::Once => 1,
            CatchUp::All => limit,
        };
        let mut plan = Self::default();
        let (mut late, mut at) = (VecDeque::new(), Some(first));
        while let Some(tick) = at.filter(|tick| *tick <= now) {
            plan.last = Some(tick);
            if now - tick <= GRACE {
                plan.fire.push((tick, TickCause::Clock));
            } else {
                late.push_back(tick);
            }
            if late.len() > wanted {
                plan.missed.extend(late.pop_front());
                plan.missed_count += 1;
            }
            if plan.missed.len() > NOTED {
                plan.missed.pop_front();
            }
            at = timetable.next_after(tick);
        }
        plan.next = at;
        plan.fire.splice(0..0, late.into_iter().map(|tick| (tick, TickCause::CatchUp)));
        plan
    }
}

/// Fires what is due of a schedule.
pub async fn fire(
    conn: &mut AsyncPgConnection,
    kinds: &[Kind],
    id: ScheduleId,
) -> Result<Option<Fired>, ScheduleError> {
    conn.transaction(async |conn| {
        let Some(mut schedule) = queries::lock_free(conn, id).await? else { return Ok(None) };
        let now = queries::now(conn).await?;
        let Some(first) = schedule.next_at.filter(|next| *next <= now) else { return Ok(None) };
        let timetable = match schedule.timetable() {
            Ok(timetable) => timetable,
            Err(why) => return stop(conn, &schedule, &why).await,
        };
        let limit = usize::try_from(schedule.catch_up_limit).unwrap_or(1);
        let plan = Plan::of(&timetable, first, now, schedule.catch_up, limit);
        note_missed(conn, &schedule, &plan).await?;
        let mut fired = Fired { schedule: schedule.name.clone(), ..Fired::default() };
        for (nominal, cause) in plan.fire {
            if making::claim(conn, schedule.id, nominal, cause).await? {
                decide(conn, kinds, &mut schedule, nominal, cause, &mut fired).await?;
            }
        }
        diesel::update(schedules::table.find(id))
            .set((
                schedules::next_at.eq(plan.next),
                schedules::last_at.eq(plan.last),
                schedules::last_run_id.eq(schedule.last_run_id),
                // Its pause is over, if it had one.
                schedules::paused_at.eq(None::<DateTime<Utc>>),
                schedules::paused_until.eq(None::<DateTime<Utc>>),
                schedules::paused_by.eq(None::<String>),
                schedules::pause_reason.eq(None::<String>),
            ))
            .execute(conn)
            .await?;
        Ok(Some(fired))
    })
    .await
}

/// Lets go of the first tick that has waited for the end of a run.
pub async fn release(
    conn: &mut AsyncPgConnection,
    kinds: &[Kind],
    id: ScheduleId,
) -> Result<Option<Fired>, ScheduleError> {
    conn.transaction(async |conn| {
        let Some(mut schedule) = queries::lock_free(conn, id).await? else { return Ok(None) };
        if is_busy(conn, &schedule).await? {
            return Ok(None);
        }
        let waiting = queries::waiting(conn, id).await?;
        let Some(tick) = waiting.into_iter().next() else { return Ok(None) };
        let mut fired = Fired { schedule: schedule.name.clone(), ..Fired::default() };
        make(conn, kinds, &mut schedule, tick.nominal_at, &mut fired).await?;
        let last = schedules::last_run_id.eq(schedule.last_run_id);
        diesel::update(schedules::table.find(id)).set(last).execute(conn).await?;
        Ok(Some(fired))
    })
    .await
}

async fn is_busy(conn: &mut AsyncPgConnection, schedule: &Schedule) -> QueryResult<bool> {
    match schedule.last_run_id {
        Some(run) => queries::is_active(conn, run).await,
        None => Ok(false),
    }
}

/// What a tick does by the schedule's policy for overlaps.
async fn decide(
    conn: &mut AsyncPgConnection,
    kinds: &[Kind],
    schedule: &mut Schedule,
    nominal: DateTime<Utc>,
    cause: TickCause,
    fired: &mut Fired,
) -> Result<(), ScheduleError> {
    if schedule.overlap == Overlap::Allow {
        return make(conn, kinds, schedule, nominal, fired).await;
    }
    let id = schedule.id;
    let waiting = queries::waiting(conn, id).await?.len() - 1;
    let running = match schedule.last_run_id {
        Some(run) if queries::is_active(conn, run).await? => Some(run),
        _ if waiting == 0 => return make(conn, kinds, schedule, nominal, fired).await,
        _ => None,
    };
    let skip = match running {
        // What is caught up is wanted, each of it.
        Some(run) if schedule.overlap == Overlap::Skip && cause == TickCause::Clock => {
            Some(format!("the run before it had not ended ({run})"))
        }
        _ if waiting >= MAX_WAITING => Some(format!("{waiting} ticks wait already")),
        _ => None,
    };
    if let Some(reason) = skip {
        return Ok(making::settle(conn, id, nominal, TickOutcome::Skipped, &reason).await?);
    }
    if schedule.overlap == Overlap::CancelRunning && cause == TickCause::Clock {
        if let Some(run) = running {
            match conn.transaction(async |conn| cancel_run(conn, run).await).await {
                // It has ended by itself, or is gone.
                Ok(_) | Err(RunError::Transition(_) | RunError::NotFound(_)) => {}
                Err(other) => return Err(other.into()),
            }
        }
        let older = schedule_ticks::table
            .filter(schedule_ticks::schedule_id.eq(id).and(schedule_ticks::nominal_at.lt(nominal)))
            .filter(schedule_ticks::outcome.eq(TickOutcome::Waiting))
            .filter(schedule_ticks::cause.eq(TickCause::Clock));
        let skipped = (
            schedule_ticks::outcome.eq(TickOutcome::Skipped),
            schedule_ticks::reason.eq("a later tick took its place"),
        );
        diesel::update(older).set(skipped).execute(conn).await?;
    }
    Ok(())
}

async fn make(
    conn: &mut AsyncPgConnection,
    kinds: &[Kind],
    schedule: &mut Schedule,
    nominal: DateTime<Utc>,
    fired: &mut Fired,
) -> Result<(), ScheduleError> {
    let by = format!("schedule {}", schedule.name);
    match making::make(conn, kinds, schedule, nominal, &by, None).await? {
        Made::Run(enqueued) => {
            schedule.last_run_id = Some(enqueued.id);
            fired.runs += 1;
            fired.queue = kinds.iter().find(|kind| kind.name == schedule.kind).map(|kind| kind.queue);
        }
        Made::Refused(why) => {
            refuse(conn, schedule, &format!("No run could be made: {why}. Edit the schedule.")).await?;
        }
    }
    Ok(())
}

/// Notes what was missed and says so to somebody.
///
/// With `once` one tick stands for all that were missed: that is as it was wanted, and nobody is told.
async fn note_missed(conn: &mut AsyncPgConnection, schedule: &Schedule, plan: &Plan) -> QueryResult<()> {
    let (Some(first), Some(last)) = (plan.missed.front(), plan.missed.back()) else { return Ok(()) };
    let rows: Vec<_> = plan
        .missed
        .iter()
        .map(|tick| {
            (
                schedule_ticks::schedule_id.eq(schedule.id),
                schedule_ticks::nominal_at.eq(*tick),
                schedule_ticks::outcome.eq(TickOutcome::Missed),
                schedule_ticks::cause.eq(TickCause::Clock),
                schedule_ticks::reason.eq("no scheduler ran when it was due"),
            )
        })
        .collect();
    diesel::insert_into(schedule_ticks::table).values(rows).on_conflict_do_nothing().execute(conn).await?;
    if schedule.catch_up == CatchUp::Once {
        return Ok(());
    }
    let time = |time: &DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let message = match plan.missed_count {
        1 => format!("The tick of {} was missed: no scheduler ran.", time(first)),
        count => format!("{count} ticks up to {} were missed: no scheduler ran.", time(last)),
    };
    let message = format!("{message} A backfill makes up for what is wanted.");
    alerts::raise(
        conn,
        "schedule_missed",
        &format!("missed:{}:{}", schedule.id, time(last)),
        &schedule.name,
        &message,
    )
    .await
}

/// A schedule that can no longer be read does not fire, and says so.
async fn stop(
    conn: &mut AsyncPgConnection,
    schedule: &Schedule,
    why: &str,
) -> Result<Option<Fired>, ScheduleError> {
    let none = schedules::next_at.eq(None::<DateTime<Utc>>);
    diesel::update(schedules::table.find(schedule.id)).set(none).execute(conn).await?;
    refuse(conn, schedule, &format!("It does not fire any more: {why}. Edit the schedule.")).await?;
    Ok(None)
}

/// Says, once for each version of a schedule, that it needs somebody.
async fn refuse(conn: &mut AsyncPgConnection, schedule: &Schedule, message: &str) -> QueryResult<()> {
    let key = format!("refused:{}:{}", schedule.id, schedule.version);
    alerts::raise(conn, "schedule_refused", &key, &schedule.name, message).await
}
