//! Making the run of a tick. The tick's row is inserted first: its key is what makes a tick fire once.

use super::{
    arguments,
    error::ScheduleError,
    model::{Schedule, TickCause, TickOutcome},
};
use crate::{
    ids::{RunId, ScheduleId},
    runs::{EnqueueOptions, Enqueued, registry::Kind},
    schema::schedule_ticks,
};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// What became of a tick.
pub(super) enum Made {
    /// A run stands for it.
    Run(Enqueued),
    /// No run can be made of it, for this reason.
    Refused(String),
}

/// Inserts a tick; false if there is one.
pub(super) async fn claim(
    conn: &mut AsyncPgConnection,
    id: ScheduleId,
    nominal: DateTime<Utc>,
    cause: TickCause,
) -> QueryResult<bool> {
    let inserted = diesel::insert_into(schedule_ticks::table)
        .values((
            schedule_ticks::schedule_id.eq(id),
            schedule_ticks::nominal_at.eq(nominal),
            schedule_ticks::outcome.eq(TickOutcome::Waiting),
            schedule_ticks::cause.eq(cause),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(inserted == 1)
}

/// Says what became of a tick without a run.
pub(super) async fn settle(
    conn: &mut AsyncPgConnection,
    id: ScheduleId,
    nominal: DateTime<Utc>,
    outcome: TickOutcome,
    reason: &str,
) -> QueryResult<()> {
    let tick = schedule_ticks::table.find((id, nominal));
    diesel::update(tick)
        .set((schedule_ticks::outcome.eq(outcome), schedule_ticks::reason.eq(reason)))
        .execute(conn)
        .await
        .map(drop)
}

/// Makes the run of a tick that was claimed and notes it. Arguments that the kind refuses are no error: the tick
/// says so, and the next one is tried again.
pub(super) async fn make(
    conn: &mut AsyncPgConnection,
    kinds: &[Kind],
    schedule: &Schedule,
    nominal: DateTime<Utc>,
    by: &str,
    priority: Option<i16>,
) -> Result<Made, ScheduleError> {
    let (kind, args) = match arguments_of(kinds, schedule, nominal) {
        Ok(found) => found,
        Err(why) => {
            settle(conn, schedule.id, nominal, TickOutcome::Refused, &why).await?;
            return Ok(Made::Refused(why));
        }
    };
    let options = EnqueueOptions { priority: priority.or(schedule.priority), ..EnqueueOptions::by(by) };
    let enqueued = (kind.start)(args, conn, &options).await?;
    let outcome = if enqueued.created { TickOutcome::Fired } else { TickOutcome::Joined };
    let tick = schedule_ticks::table.find((schedule.id, nominal));
    diesel::update(tick)
        .set((
            schedule_ticks::outcome.eq(outcome),
            schedule_ticks::run_id.eq(enqueued.id),
            schedule_ticks::reason.eq(None::<String>),
            schedule_ticks::fired_at.eq(super::queries::clock_timestamp()),
        ))
        .execute(conn)
        .await?;
    Ok(Made::Run(enqueued))
}

/// The kind and the arguments of a tick's run, in the kind's spelling.
fn arguments_of<'k>(
    kinds: &'k [Kind],
    schedule: &Schedule,
    nominal: DateTime<Utc>,
) -> Result<(&'k Kind, serde_json::Value), String> {
    let kind = kinds.iter().find(|kind| kind.name == schedule.kind);
    let kind = kind.ok_or_else(|| format!("this version does not know the kind {:?}", schedule.kind))?;
    let zone: Tz = schedule.zone.parse().map_err(|_| format!("there is no zone {:?}", schedule.zone))?;
    let args = arguments::expand(&schedule.args, zone, nominal)?;
    let read = (kind.read)(args).map_err(|error| error.to_string())?;
    Ok((kind, read.args))
}

/// The run that a backfill's tick had is let go of, so that another can be made.
pub(super) async fn wait_for_backfill(
    conn: &mut AsyncPgConnection,
    id: ScheduleId,
    nominal: &[DateTime<Utc>],
    backfill: RunId,
) -> QueryResult<usize> {
    let waiting = (
        schedule_ticks::outcome.eq(TickOutcome::Waiting),
        schedule_ticks::cause.eq(TickCause::Backfill),
        schedule_ticks::backfill_id.eq(Some(backfill)),
        schedule_ticks::run_id.eq(None::<RunId>),
        schedule_ticks::run_ended.eq(None::<crate::runs::RunState>),
        schedule_ticks::reason.eq(None::<String>),
    );
    let rows: Vec<_> = nominal
        .iter()
        .map(|at| (schedule_ticks::schedule_id.eq(id), schedule_ticks::nominal_at.eq(*at), waiting.clone()))
        .collect();
    let mut changed = 0;
    // A statement binds at most 65,535 parameters.
    for part in rows.chunks(1000) {
        changed += diesel::insert_into(schedule_ticks::table)
            .values(part)
            .on_conflict((schedule_ticks::schedule_id, schedule_ticks::nominal_at))
            .do_update()
            .set(waiting.clone())
            .execute(conn)
            .await?;
    }
    Ok(changed)
}
