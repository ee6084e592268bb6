//! Schedules: make, change, pause, enable, delete, run now, fill in.

use super::repeat;
use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
};
use chrono::{DateTime, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{
    audit,
    ids::RunId,
    runs::{Run, queries},
    schedules::{
        CatchUp, Definition, MissingTime, Overlap, Pause, RepeatedTime, Schedule, ScheduleError, backfill,
        service,
    },
};
use utoipa::ToSchema;

/// A schedule to make; or, in a change, what is to be different.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleRequest {
    /// Its name: a–z, 0–9, `_`, `-`, `.`; at most 100. A new one has to have one.
    #[schema(example = "hourly_etl")]
    pub name: Option<String>,
    /// What it is for, for whoever wonders; at most 500 characters.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub description: Option<Option<String>>,
    /// The cron expression: five fields, six with seconds, or `@daily` and its like. A new one has to have one.
    #[schema(example = "15 * * * *")]
    pub cron: Option<String>,
    /// IANA name of the zone whose clock counts; the reporting zone if absent.
    #[schema(example = "Europe/Berlin")]
    pub zone: Option<String>,
    /// The kind of its runs, see `/api/v1/kinds`. A new one has to have one.
    #[schema(example = "run_etl")]
    pub kind: Option<String>,
    /// Their arguments: the kind's, with the placeholders `{{ date }}`, `{{ date_before }}`, `{{ nominal_time }}`.
    #[schema(value_type = Option<Object>)]
    pub args: Option<Value>,
    /// Priority of its runs; null is the kind's.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i16>)]
    pub priority: Option<Option<i16>>,
    /// For times that do not exist because the clock goes forward: `skip`, `shift`; `shift` if absent.
    #[schema(value_type = Option<String>)]
    pub missing: Option<MissingTime>,
    /// For times that come twice because the clock goes back: `first`, `second`, `both`; if absent `both` for an
    /// expression of every hour, else `first`.
    #[schema(value_type = Option<String>)]
    pub repeated: Option<RepeatedTime>,
    /// For ticks that were missed because no scheduler ran: `skip`, `once`, `all`; `once` if absent. A tick that comes
    /// at most 15 seconds late is on time and fires, whatever this says.
    #[schema(value_type = Option<String>)]
    pub catch_up: Option<CatchUp>,
    /// With `all`, how many of the last are caught up: 1 to 1000; 10 if absent.
    pub catch_up_limit: Option<i32>,
    /// For ticks that come while the run of an earlier one goes on: `skip`, `queue`, `cancel_running`, `allow`;
    /// `skip` if absent.
    #[schema(value_type = Option<String>)]
    pub overlap: Option<Overlap>,
    /// Of a new one: false makes it paused.
    pub enabled: Option<bool>,
    /// Of a change: the version that was read. If somebody was faster, the answer is 409.
    pub version: Option<i32>,
}

/// Tells null from absent.
fn given<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl ScheduleRequest {
    /// A definition out of what was given and what is usual.
    fn definition(&self, zone: &str) -> ApiResult<Definition> {
        let needed = |field: &'static str, value: &Option<String>, what: &str| {
            value
                .clone()
                .filter(|value| !value.trim().is_empty())
                .ok_or_else(|| ApiError::invalid(field, format!("A schedule has to have {what}.")))
        };
        Ok(Definition {
            name: needed("name", &self.name, "a name")?,
            description: self.description.clone().flatten(),
            cron: needed("cron", &self.cron, "a cron expression, such as `15 * * * *`")?,
            zone: self.zone.clone().unwrap_or_else(|| zone.to_owned()),
            kind: needed("kind", &self.kind, "a kind of job, see GET /api/v1/kinds")?,
            args: self.args.clone().unwrap_or_else(|| json!({})),
            priority: self.priority.flatten(),
            missing: self.missing.unwrap_or(MissingTime::Shift),
            repeated: self.repeated,
            catch_up: self.catch_up.unwrap_or(CatchUp::Once),
            catch_up_limit: self.catch_up_limit.unwrap_or(10),
            overlap: self.overlap.unwrap_or(Overlap::Skip),
        })
    }

    fn apply(&self, wanted: &mut Definition) {
        fn set<T: Clone>(field: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                *field = value.clone();
            }
        }
        let before = wanted.cron.clone();
        set(&mut wanted.name, &self.name);
        set(&mut wanted.description, &self.description);
        set(&mut wanted.cron, &self.cron);
        set(&mut wanted.zone, &self.zone);
        set(&mut wanted.kind, &self.kind);
        set(&mut wanted.args, &self.args);
        set(&mut wanted.priority, &self.priority);
        set(&mut wanted.missing, &self.missing);
        set(&mut wanted.catch_up, &self.catch_up);
        set(&mut wanted.catch_up_limit, &self.catch_up_limit);
        set(&mut wanted.overlap, &self.overlap);
        // Another expression may suit another policy, unless one is asked for.
        if self.repeated.is_some() || self.cron.as_ref().is_some_and(|cron| *cron != before) {
            wanted.repeated = self.repeated;
        }
    }
}

/// Makes a schedule. The answer says whether it was made: the same request may have made it before.
pub async fn create(
    state: &AppState,
    principal: &Principal,
    request: &ScheduleRequest,
    key: Option<&str>,
) -> ApiResult<(Schedule, bool)> {
    if request.version.is_some() {
        return Err(ApiError::invalid("version", "A new schedule has no version yet."));
    }
    let definition = request.definition(state.env.settings.zone.name())?;
    let pause = (request.enabled == Some(false)).then(|| Pause {
        until: None,
        reason: None,
        by: principal.name.clone(),
    });
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let (actor, kinds) = (&principal.name, state.env.kinds);
    conn.transaction::<_, ApiError, _>(async move |conn| {
        if let Some(earlier) = repeat::claim::<String>(conn, actor, key, "schedule", request).await? {
            return Ok((find(conn, &earlier).await?, false));
        }
        let schedule = service::create(conn, kinds, definition.clone(), pause.clone(), actor).await?;
        audit::record(conn, actor, "schedule.create", &schedule.name, &json!({ "request": request })).await?;
        repeat::point(conn, actor, key, &schedule.name).await?;
        Ok((schedule, true))
    })
    .await
}

/// The schedule of this name, or 404.
pub async fn find(conn: &mut AsyncPgConnection, name: &str) -> ApiResult<Schedule> {
    let found = shared::schedules::queries::find(conn, name).await?;
    found.ok_or_else(|| ScheduleError::NotFound(name.chars().take(100).collect()).into())
}

/// What is done to a schedule.
enum Deed<'a> {
    Edit(&'a ScheduleRequest),
    Pause(Pause),
    Enable,
    Delete,
}

impl Deed<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Edit(_) => "schedule.edit",
            Self::Pause(_) => "schedule.pause",
            Self::Enable => "schedule.enable",
            Self::Delete => "schedule.delete",
        }
    }

    fn details(&self) -> Value {
        match self {
            Self::Edit(request) => json!({ "request": request }),
            Self::Pause(pause) => json!({ "until": pause.until, "reason": pause.reason }),
            Self::Enable | Self::Delete => json!({}),
        }
    }
}

/// Changes a schedule.
pub async fn edit(
    state: &AppState,
    principal: &Principal,
    name: &str,
    request: &ScheduleRequest,
) -> ApiResult<Schedule> {
    if request.enabled.is_some() {
        let detail = "A schedule is paused and enabled by its own routes: …/pause, …/enable.";
        return Err(ApiError::invalid("enabled", detail));
    }
    act(state, principal, name, Deed::Edit(request)).await
}

/// Pauses a schedule.
pub async fn pause(
    state: &AppState,
    principal: &Principal,
    name: &str,
    until: Option<DateTime<Utc>>,
    reason: Option<String>,
) -> ApiResult<Schedule> {
    act(state, principal, name, Deed::Pause(Pause { until, reason, by: principal.name.clone() })).await
}

/// Has a schedule fire from now on.
pub async fn enable(state: &AppState, principal: &Principal, name: &str) -> ApiResult<Schedule> {
    act(state, principal, name, Deed::Enable).await
}

/// Deletes a schedule.
pub async fn delete(state: &AppState, principal: &Principal, name: &str) -> ApiResult<Schedule> {
    act(state, principal, name, Deed::Delete).await
}

async fn act(state: &AppState, principal: &Principal, name: &str, deed: Deed<'_>) -> ApiResult<Schedule> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let (action, details, kinds) = (deed.name(), deed.details(), state.env.kinds);
    let schedule = conn
        .transaction::<_, ApiError, _>(async move |conn| {
            let (schedule, changed) = match &deed {
                Deed::Edit(request) => {
                    service::edit(conn, kinds, name, request.version, |wanted| request.apply(wanted)).await?
                }
                Deed::Pause(pause) => (service::pause(conn, name, pause.clone()).await?, true),
                Deed::Enable => service::enable(conn, name).await?,
                Deed::Delete => (service::delete(conn, name).await?, true),
            };
            if changed {
                audit::record(conn, &principal.name, action, name, &details).await?;
            }
            Ok(schedule)
        })
        .await?;
    tracing::info!(actor = %principal.name, "{action} {name}");
    Ok(schedule)
}

/// Runs a schedule's job at once. The answer says whether a run was made: one may stand for it.
pub async fn run_now(
    state: &AppState,
    principal: &Principal,
    name: &str,
    args: Option<Value>,
    key: Option<&str>,
) -> ApiResult<(Run, bool)> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let (actor, kinds) = (&principal.name, state.env.kinds);
    let (run, created) = conn
        .transaction::<_, ApiError, _>(async move |conn| {
            let what = format!("run schedule {name}");
            if let Some(earlier) = repeat::claim::<RunId>(conn, actor, key, &what, &args).await? {
                return Ok((
                    queries::find_run(conn, earlier).await?.ok_or_else(|| super::no_run(earlier))?,
                    false,
                ));
            }
            let (_, enqueued) = service::run_now(conn, kinds, name, args.clone(), actor).await?;
            let details = json!({ "args": args, "run": enqueued.id, "created": enqueued.created });
            audit::record(conn, actor, "schedule.run", name, &details).await?;
            repeat::point(conn, actor, key, &enqueued.id.to_string()).await?;
            let run =
                queries::find_run(conn, enqueued.id).await?.ok_or_else(|| super::no_run(enqueued.id))?;
            Ok((run, enqueued.created))
        })
        .await?;
    super::ring(state, &run);
    tracing::info!(run.id = %run.id, actor = %principal.name, "schedule {name} is run by hand");
    Ok((run, created))
}

/// Which times a backfill is to run.
#[derive(Debug, Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackfillRequest {
    /// From here on: a day's beginning in the reporting zone, or an instant.
    #[schema(example = "2026-11-01")]
    pub from: String,
    /// To the end of this day, or before this instant; now if absent.
    #[schema(example = "2026-11-26")]
    pub until: Option<String>,
    /// Also those that are done already.
    #[serde(default)]
    pub all: bool,
    /// Runs at once, 1 to 50; 2 if absent.
    pub at_once: Option<i32>,
}

/// Starts a backfill; its run, and how many times it runs.
pub async fn backfill(
    state: &AppState,
    principal: &Principal,
    name: &str,
    wanted: backfill::Wanted,
    at_once: i32,
    key: Option<&str>,
) -> ApiResult<(Run, bool)> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let actor = &principal.name;
    let asked = json!({ "from": wanted.from, "until": wanted.until, "all": wanted.all, "at_once": at_once });
    let (run, created) = conn
        .transaction::<_, ApiError, _>(async move |conn| {
            let what = format!("backfill {name}");
            if let Some(earlier) = repeat::claim::<RunId>(conn, actor, key, &what, &asked).await? {
                return Ok((
                    queries::find_run(conn, earlier).await?.ok_or_else(|| super::no_run(earlier))?,
                    false,
                ));
            }
            let (id, times) = backfill::start(conn, name, wanted, at_once, actor).await?;
            let details = json!({ "request": asked, "times": times, "run": id });
            audit::record(conn, actor, "schedule.backfill", name, &details).await?;
            repeat::point(conn, actor, key, &id.to_string()).await?;
            Ok((queries::find_run(conn, id).await?.ok_or_else(|| super::no_run(id))?, true))
        })
        .await?;
    super::ring(state, &run);
    tracing::info!(run.id = %run.id, actor = %principal.name, "a backfill of schedule {name} is asked for");
    Ok((run, created))
}
