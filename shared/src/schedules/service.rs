//! What may be done with a schedule: make, change, pause, enable, delete, run now. Each is one transaction
//! of the caller's, under the schedule's row: a tick fires before it or after it, never in between.

use super::{
    arguments,
    cron::Expression,
    error::{Fault, ScheduleError},
    making::{self, Made},
    model::{CatchUp, MissingTime, Overlap, RepeatedTime, Schedule, TickCause},
    queries,
    timetable::Timetable,
};
use crate::{
    ids::ScheduleId,
    runs::{Enqueued, registry::Kind},
    schema::schedules,
};
use chrono::{DateTime, Datelike, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

/// Longest description, and longest reason of a pause.
const MAX_TEXT: usize = 500;
/// Most ticks that are caught up.
pub const MAX_CATCH_UP: i32 = 1000;

/// What a schedule is, as somebody wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// Its name: a–z, 0–9, `_`, `-`, `.`.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The cron expression.
    pub cron: String,
    /// IANA name of the zone.
    pub zone: String,
    /// The kind of its runs.
    pub kind: String,
    /// Their arguments.
    pub args: Value,
    /// Overrides the kind's priority.
    pub priority: Option<i16>,
    /// For times that do not exist.
    pub missing: MissingTime,
    /// For times that come twice; absent means what suits the expression.
    pub repeated: Option<RepeatedTime>,
    /// For ticks that were missed.
    pub catch_up: CatchUp,
    /// How many of them.
    pub catch_up_limit: i32,
    /// For ticks that come while a run goes on.
    pub overlap: Overlap,
}

/// How a schedule is paused.
#[derive(Debug, Clone)]
pub struct Pause {
    /// It fires again from then on.
    pub until: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<String>,
    /// Who pauses it.
    pub by: String,
}

impl Definition {
    /// What a schedule is now.
    pub fn of(schedule: &Schedule) -> Self {
        Self {
            name: schedule.name.clone(),
            description: schedule.description.clone(),
            cron: schedule.cron.clone(),
            zone: schedule.zone.clone(),
            kind: schedule.kind.clone(),
            args: schedule.args.clone(),
            priority: schedule.priority,
            missing: schedule.missing,
            repeated: Some(schedule.repeated),
            catch_up: schedule.catch_up,
            catch_up_limit: schedule.catch_up_limit,
            overlap: schedule.overlap,
        }
    }

    /// Checks every field; the error names all that cannot be used.
    pub fn check(mut self, kinds: &[Kind], now: DateTime<Utc>) -> Result<Checked, ScheduleError> {
        let mut faults = Vec::new();
        if !is_name(&self.name) {
            faults.push(Fault::new(
                "name",
                "A name has 1 to 100 of a–z, 0–9, _, - and ., begins with a letter or a digit, and is not \"new\".",
            ));
        }
        self.description = trimmed(self.description, "description", &mut faults);
        self.cron = self.cron.trim().to_owned();
        let expression =
            Expression::read(&self.cron).map_err(|why| faults.push(Fault::new("cron", why))).ok();
        let zone: Option<Tz> = self.zone.trim().parse().ok();
        if zone.is_none() {
            let given: String = self.zone.chars().take(60).collect();
            let message = format!(
                "There is no zone {given:?}. Name one as the IANA does: Europe/Berlin, America/New_York, UTC."
            );
            faults.push(Fault::new("zone", message));
        }
        if !(1..=MAX_CATCH_UP).contains(&self.catch_up_limit) {
            let message = format!("Ticks to catch up are a number from 1 to {MAX_CATCH_UP}.");
            faults.push(Fault::new("catch_up_limit", message));
        }
        if let Err(fault) = check_job(kinds, &self.kind, &self.args, zone.unwrap_or(Tz::UTC), now) {
            faults.push(fault);
        }
        let (Some(expression), Some(zone)) = (expression, zone) else {
            return Err(ScheduleError::Invalid(faults));
        };
        let hourly = expression.is_hourly();
        let repeated = self.repeated.unwrap_or(if hourly { RepeatedTime::Both } else { RepeatedTime::First });
        let timetable = Timetable { expression, zone, missing: self.missing, repeated };
        let next = timetable.next_after(now);
        if next.is_none() {
            faults.push(Fault::new("cron", "It never comes: no day of the calendar is like this."));
        }
        if !faults.is_empty() {
            return Err(ScheduleError::Invalid(faults));
        }
        self.zone = zone.name().to_owned();
        Ok(Checked { definition: self, timetable, repeated, next, now })
    }
}

/// A definition whose every field can be used.
#[derive(Debug, Clone)]
pub struct Checked {
    definition: Definition,
    /// When it fires.
    pub timetable: Timetable,
    repeated: RepeatedTime,
    next: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
}

fn is_name(name: &str) -> bool {
    let letters =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte));
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    // The page that makes one has this address.
    letters && first && name.len() <= 100 && name != "new"
}

fn trimmed(text: Option<String>, field: &str, faults: &mut Vec<Fault>) -> Option<String> {
    let text = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    if text.as_ref().is_some_and(|text| text.chars().count() > MAX_TEXT || text.contains('\0')) {
        faults.push(Fault::new(field, format!("It has at most {MAX_TEXT} characters, none of them NUL.")));
    }
    text
}

/// Whether a kind can be scheduled with these arguments.
fn check_job(kinds: &[Kind], kind: &str, args: &Value, zone: Tz, now: DateTime<Utc>) -> Result<(), Fault> {
    let Some(found) = kinds.iter().find(|known| known.name == kind) else {
        let mut known: Vec<&str> =
            kinds.iter().filter(|known| known.unschedulable().is_none()).map(|known| known.name).collect();
        known.sort_unstable();
        let kind: String = kind.chars().take(60).collect();
        let message = format!("There is no kind {kind:?} of job; there are {}.", known.join(", "));
        return Err(Fault::new("kind", message));
    };
    if let Some(why) = found.unschedulable() {
        return Err(Fault::new("kind", format!("{kind} cannot be put on a clock: {why}.")));
    }
    if !args.is_object() {
        return Err(Fault::new("args", "The arguments are a JSON object, such as {}."));
    }
    if args.to_string().contains("\\u0000") {
        return Err(Fault::new("args", "The arguments hold a text with a NUL character."));
    }
    let expanded = arguments::expand(args, zone, now).map_err(|why| Fault::new("args", why))?;
    (found.read)(expanded).map(drop).map_err(|error| {
        let field = if error.path == "." { "args".to_owned() } else { format!("args.{}", error.path) };
        Fault::new(field, error.message)
    })
}

/// Checks when a pause ends and what it says.
fn check_pause(pause: &mut Pause, now: DateTime<Utc>) -> Result<(), ScheduleError> {
    let mut faults = Vec::new();
    if pause.until.is_some_and(|until| until <= now || until.year() > 9999) {
        let message =
            format!("The time has to be in the future: later than {}.", now.format("%Y-%m-%dT%H:%M:%SZ"));
        faults.push(Fault::new("until", message));
    }
    pause.reason = trimmed(pause.reason.take(), "reason", &mut faults);
    if faults.is_empty() { Ok(()) } else { Err(ScheduleError::Invalid(faults)) }
}

/// The columns that a definition sets, besides the name.
macro_rules! column_values {
    ($checked:expr) => {{
        let wanted = &$checked.definition;
        (
            schedules::description.eq(wanted.description.clone()),
            schedules::cron.eq(wanted.cron.clone()),
            schedules::zone.eq(wanted.zone.clone()),
            schedules::kind.eq(wanted.kind.clone()),
            schedules::args.eq(wanted.args.clone()),
            schedules::priority.eq(wanted.priority),
            schedules::missing.eq(wanted.missing),
            schedules::repeated.eq($checked.repeated),
            schedules::catch_up.eq(wanted.catch_up),
            schedules::catch_up_limit.eq(wanted.catch_up_limit),
            schedules::overlap.eq(wanted.overlap),
        )
    }};
}
use column_values as columns;

/// Makes a schedule; with `pause`, one that does not fire yet.
pub async fn create(
    conn: &mut AsyncPgConnection,
    kinds: &[Kind],
    definition: Definition,
    pause: Option<Pause>,
    by: &str,
) -> Result<Schedule, ScheduleError> {
    let now = queries::now(conn).await?;
    let name = definition.name.clone();
    let checked = definition.check(kinds, now)?;
    let pause = pause.map(|mut pause| check_pause(&mut pause, now).map(|()| pause)).transpose()?;
    let made = insert(conn, &checked, pause.as_ref(), false, by).await?;
    made.ok_or(ScheduleError::NameTaken(name))
}

/// Inserts a schedule, unless there is one of the name.
pub(super) async fn insert(
    conn: &mut AsyncPgConnection,
    checked: &Checked,
    pause: Option<&Pause>,
    built_in: bool,
    by: &str,
) -> QueryResult<Option<Schedule>> {
    let wanted = &checked.definition;
    let next = match pause {
        None => checked.next,
        Some(pause) => pause.until.and_then(|until| checked.timetable.next_after(until)),
    };
    diesel::insert_into(schedules::table)
        .values((
            schedules::id.eq(ScheduleId::generate()),
            schedules::name.eq(&wanted.name),
            columns!(checked),
            schedules::next_at.eq(next),
            schedules::paused_at.eq(pause.map(|_| checked.now)),
            schedules::paused_until.eq(pause.and_then(|pause| pause.until)),
            schedules::paused_by.eq(pause.map(|pause| &pause.by)),
            schedules::pause_reason.eq(pause.and_then(|pause| pause.reason.as_ref())),
            schedules::built_in.eq(built_in),
            schedules::created_by.eq(by),
        ))
        .on_conflict_do_nothing()
        .returning(Schedule::as_returning())
        .get_result(conn)
        .await
        .optional()
}

/// Changes a schedule; `version`, if given, is the one that was read. A new time counts from now on. False if nothing
/// was different.
pub async fn edit(
    conn: &mut AsyncPgConnection,
    kinds: &[Kind],
    name: &str,
    version: Option<i32>,
    change: impl FnOnce(&mut Definition),
) -> Result<(Schedule, bool), ScheduleError> {
    let schedule = locked(conn, name).await?;
    if version.is_some_and(|version| version != schedule.version) {
        return Err(ScheduleError::Stale(schedule.version));
    }
    let now = queries::now(conn).await?;
    let mut wanted = Definition::of(&schedule);
    change(&mut wanted);
    if wanted == Definition::of(&schedule) {
        return Ok((schedule, false));
    }
    if wanted.name != schedule.name && schedule.built_in {
        let fault = Fault::new("name", "A schedule that is built in keeps its name.");
        return Err(ScheduleError::Invalid(vec![fault]));
    }
    let new_name = wanted.name.clone();
    let checked = wanted.check(kinds, now)?;
    let differs = {
        let wanted = &checked.definition;
        (&schedule.cron, &schedule.zone, schedule.missing, schedule.repeated)
            != (&wanted.cron, &wanted.zone, wanted.missing, checked.repeated)
    };
    // A tick that is just due is not lost by a change of something else; one that could no longer be read fires
    // again.
    let stands_still = schedule.next_at.is_none() && schedule.paused_at.is_none();
    let next = match differs || stands_still {
        true => next_at(&schedule, &checked.timetable, now),
        false => schedule.next_at,
    };
    let updated = diesel::update(schedules::table.find(schedule.id))
        .set((
            schedules::name.eq(&new_name),
            columns!(checked),
            schedules::next_at.eq(next),
            schedules::version.eq(schedules::version + 1),
            schedules::updated_at.eq(diesel::dsl::now),
        ))
        .returning(Schedule::as_returning())
        .get_result(conn)
        .await;
    match updated {
        Err(diesel::result::Error::DatabaseError(diesel::result::DatabaseErrorKind::UniqueViolation, _)) => {
            Err(ScheduleError::NameTaken(new_name))
        }
        other => Ok((other?, true)),
    }
}

/// When a schedule fires next, under its pause.
fn next_at(schedule: &Schedule, timetable: &Timetable, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match (schedule.paused_at, schedule.paused_until) {
        (Some(_), None) => None,
        (Some(_), Some(until)) => timetable.next_after(until.max(now)),
        (None, _) => timetable.next_after(now),
    }
}

async fn locked(conn: &mut AsyncPgConnection, name: &str) -> Result<Schedule, ScheduleError> {
    queries::lock(conn, name).await?.ok_or_else(|| ScheduleError::NotFound(name.to_owned()))
}

/// Pauses a schedule: it does not fire, and what would have come is neither missed nor caught up. Pausing again
/// replaces reason and time. What waits for the end of a run is left out.
pub async fn pause(
    conn: &mut AsyncPgConnection,
    name: &str,
    mut pause: Pause,
) -> Result<Schedule, ScheduleError> {
    let schedule = locked(conn, name).await?;
    let now = queries::now(conn).await?;
    check_pause(&mut pause, now)?;
    queries::drop_waiting(conn, schedule.id, "the schedule was paused").await?;
    let timetable = schedule.timetable().ok();
    let next = pause.until.and_then(|until| timetable.and_then(|timetable| timetable.next_after(until)));
    let paused = diesel::update(schedules::table.find(schedule.id)).set((
        schedules::next_at.eq(next),
        schedules::paused_at.eq(now),
        schedules::paused_until.eq(pause.until),
        schedules::paused_by.eq(pause.by),
        schedules::pause_reason.eq(pause.reason),
        schedules::version.eq(schedules::version + 1),
        schedules::updated_at.eq(now),
    ));
    Ok(paused.returning(Schedule::as_returning()).get_result(conn).await?)
}

/// Has a schedule fire from now on. One that is not paused stays as it is (false).
pub async fn enable(conn: &mut AsyncPgConnection, name: &str) -> Result<(Schedule, bool), ScheduleError> {
    let schedule = locked(conn, name).await?;
    let now = queries::now(conn).await?;
    if !schedule.is_paused(now) {
        return Ok((schedule, false));
    }
    let timetable =
        schedule.timetable().map_err(|why| ScheduleError::Invalid(vec![Fault::new("cron", why)]))?;
    let enabled = diesel::update(schedules::table.find(schedule.id)).set((
        schedules::next_at.eq(timetable.next_after(now)),
        schedules::paused_at.eq(None::<DateTime<Utc>>),
        schedules::paused_until.eq(None::<DateTime<Utc>>),
        schedules::paused_by.eq(None::<String>),
        schedules::pause_reason.eq(None::<String>),
        schedules::version.eq(schedules::version + 1),
        schedules::updated_at.eq(now),
    ));
    Ok((enabled.returning(Schedule::as_returning()).get_result(conn).await?, true))
}

/// Deletes a schedule and the record of its ticks; its runs stay.
pub async fn delete(conn: &mut AsyncPgConnection, name: &str) -> Result<Schedule, ScheduleError> {
    let schedule = locked(conn, name).await?;
    if schedule.built_in {
        return Err(ScheduleError::BuiltIn(schedule.name));
    }
    if let Some(backfill) = queries::active_backfill(conn, schedule.id).await? {
        return Err(ScheduleError::BeingFilled(schedule.name, backfill));
    }
    diesel::delete(schedules::table.find(schedule.id)).execute(conn).await?;
    Ok(schedule)
}

/// Runs a schedule's job at once, with its own arguments or these; whatever its pause and its policies say. Ring
/// the doorbell of the kind's queue afterwards.
pub async fn run_now(
    conn: &mut AsyncPgConnection,
    kinds: &[Kind],
    name: &str,
    args: Option<Value>,
    by: &str,
) -> Result<(Schedule, Enqueued), ScheduleError> {
    let mut schedule = locked(conn, name).await?;
    let now = queries::now(conn).await?;
    if let Some(args) = args {
        schedule.args = args;
    }
    let zone = schedule.zone.parse().unwrap_or(Tz::UTC);
    check_job(kinds, &schedule.kind, &schedule.args, zone, now)
        .map_err(|fault| ScheduleError::Invalid(vec![fault]))?;
    making::claim(conn, schedule.id, now, TickCause::Manual).await?;
    match making::make(conn, kinds, &schedule, now, by, None).await? {
        Made::Run(enqueued) => Ok((schedule, enqueued)),
        Made::Refused(why) => Err(ScheduleError::Invalid(vec![Fault::new("args", why)])),
    }
}
