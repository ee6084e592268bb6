//! Schedules: list, make, show, change, delete, pause, enable, run now; their ticks; an expression read.

use crate::{
    actions::{
        engine::PauseRequest,
        schedules::{self as actions, ScheduleRequest},
    },
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    list::Listing,
    params::{
        FromParams, IdempotencyKey, Json, JsonOrNothing, ListParams, ListQuery, NoQuery, Params, PathText,
        QueryOf,
    },
    views::{
        runs::RunView,
        schedules::{CronView, OccurrenceView, ScheduleView, TickView, UPCOMING},
    },
};
use axum::{
    Json as Answer,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    pagination::{Cursor, Direction, InvalidCursor, Page},
    schedules::{Expression, MissingTime, RepeatedTime, Schedule, Timetable, queries},
};
use utoipa::{IntoParams, ToSchema};

fn location(schedule: &Schedule) -> String {
    format!("/api/v1/schedules/{}", schedule.name)
}

fn view(state: &AppState, schedule: Schedule) -> ScheduleView {
    ScheduleView::new(schedule, state.env.clock.now())
}

/// The list of schedules, and who fires them.
#[derive(Serialize, ToSchema)]
pub struct ScheduleListing {
    /// All of them: what fires next comes first.
    items: Vec<ScheduleView>,
    /// Null: there are no pages.
    next: Option<String>,
    /// Null: there are no pages.
    previous: Option<String>,
    /// The scheduler that leads, as `millrace-leader:host:process`; null if none does.
    leader: Option<String>,
    /// Since when it has led.
    leader_since: Option<DateTime<Utc>>,
}

/// List the schedules.
#[utoipa::path(get, path = "/api/v1/schedules", tag = "schedules", responses(
    (status = 200, description = "All of them, and the scheduler that leads", body = ScheduleListing),
))]
pub async fn list_schedules(State(state): State<AppState>, _: NoQuery) -> ApiResult<Answer<ScheduleListing>> {
    let conn = &mut *state.env.pool.get().await?;
    let schedules = queries::list(conn).await?;
    let leader = queries::leader(conn).await?;
    Ok(Answer(ScheduleListing {
        items: schedules.into_iter().map(|schedule| view(&state, schedule)).collect(),
        next: None,
        previous: None,
        leader_since: leader.as_ref().and_then(|leader| leader.since),
        leader: leader.map(|leader| leader.name),
    }))
}

/// Put a job on a clock.
#[utoipa::path(post, path = "/api/v1/schedules", tag = "schedules", request_body = ScheduleRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 201, description = "The schedule", body = ScheduleView, headers(("Location" = String))),
    (status = 200, description = "The schedule that the same request made before", body = ScheduleView),
    (status = 409, description = "Another one has the name"),
    (status = 422, description = "Fields that cannot be used, each with what is wrong"),
))]
pub async fn create_schedule(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
    Json(body): Json<ScheduleRequest>,
) -> ApiResult<Response> {
    let (schedule, created) = actions::create(&state, &principal, &body, key.as_deref()).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(header::LOCATION, location(&schedule))], Answer(view(&state, schedule))).into_response())
}

/// Show a schedule.
#[utoipa::path(get, path = "/api/v1/schedules/{name}", tag = "schedules",
    params(("name" = String, Path, description = "The schedule")), responses(
    (status = 200, description = "The schedule", body = ScheduleView),
    (status = 404, description = "There is no such schedule"),
))]
pub async fn show_schedule(
    State(state): State<AppState>,
    PathText(name): PathText,
    _: NoQuery,
) -> ApiResult<Answer<ScheduleView>> {
    let schedule = actions::find(&mut *state.env.pool.get().await?, &name).await?;
    Ok(Answer(view(&state, schedule)))
}

/// Change a schedule.
///
/// Only what is given changes. A new time counts from now on: what was to come is neither missed nor caught up.
#[utoipa::path(patch, path = "/api/v1/schedules/{name}", tag = "schedules", request_body = ScheduleRequest,
    params(("name" = String, Path, description = "The schedule")), responses(
    (status = 200, description = "The schedule", body = ScheduleView),
    (status = 404, description = "There is no such schedule"),
    (status = 409, description = "Somebody was faster, or another one has the name"),
    (status = 422, description = "Fields that cannot be used, each with what is wrong"),
))]
pub async fn edit_schedule(
    State(state): State<AppState>,
    principal: Principal,
    PathText(name): PathText,
    _: NoQuery,
    Json(body): Json<ScheduleRequest>,
) -> ApiResult<Answer<ScheduleView>> {
    let schedule = actions::edit(&state, &principal, &name, &body).await?;
    Ok(Answer(view(&state, schedule)))
}

/// Delete a schedule and the record of its ticks.
///
/// Its runs stay. What is built in can only be paused.
#[utoipa::path(delete, path = "/api/v1/schedules/{name}", tag = "schedules",
    params(("name" = String, Path, description = "The schedule")), responses(
    (status = 204, description = "It is gone"),
    (status = 404, description = "There is no such schedule"),
    (status = 409, description = "It is built in"),
))]
pub async fn delete_schedule(
    State(state): State<AppState>,
    principal: Principal,
    PathText(name): PathText,
    _: NoQuery,
) -> ApiResult<StatusCode> {
    actions::delete(&state, &principal, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pause a schedule: it does not fire, and what would have come is not caught up.
///
/// Pausing again replaces reason and time.
#[utoipa::path(post, path = "/api/v1/schedules/{name}/pause", tag = "schedules",
    request_body = Option<PauseRequest>, params(("name" = String, Path, description = "The schedule")), responses(
    (status = 200, description = "The schedule", body = ScheduleView),
    (status = 404, description = "There is no such schedule"),
    (status = 422, description = "`until` is not in the future, or `reason` is too long"),
))]
pub async fn pause_schedule(
    State(state): State<AppState>,
    principal: Principal,
    PathText(name): PathText,
    _: NoQuery,
    JsonOrNothing(body): JsonOrNothing<PauseRequest>,
) -> ApiResult<Answer<ScheduleView>> {
    let schedule = actions::pause(&state, &principal, &name, body.until, body.reason).await?;
    Ok(Answer(view(&state, schedule)))
}

/// Enable a schedule: it fires from now on. One that is not paused stays so.
#[utoipa::path(post, path = "/api/v1/schedules/{name}/enable", tag = "schedules",
    params(("name" = String, Path, description = "The schedule")), responses(
    (status = 200, description = "The schedule", body = ScheduleView),
    (status = 404, description = "There is no such schedule"),
))]
pub async fn enable_schedule(
    State(state): State<AppState>,
    principal: Principal,
    PathText(name): PathText,
    _: NoQuery,
) -> ApiResult<Answer<ScheduleView>> {
    Ok(Answer(view(&state, actions::enable(&state, &principal, &name).await?)))
}

/// How a schedule's job is run.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunNowRequest {
    /// Other arguments, as the kind has them, with placeholders; the schedule's own if absent.
    #[schema(value_type = Option<Object>)]
    pub args: Option<serde_json::Value>,
}

/// Run a schedule's job now, whatever its pause and its policies say.
#[utoipa::path(post, path = "/api/v1/schedules/{name}/run", tag = "schedules",
    request_body = Option<RunNowRequest>,
    params(("name" = String, Path, description = "The schedule"),
           ("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 202, description = "The run", body = RunView, headers(("Location" = String))),
    (status = 200, description = "A run that stands for it already, or that the same request started", body = RunView),
    (status = 404, description = "There is no such schedule"),
    (status = 422, description = "The kind refuses the arguments"),
))]
pub async fn run_schedule(
    State(state): State<AppState>,
    principal: Principal,
    PathText(name): PathText,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
    JsonOrNothing(body): JsonOrNothing<RunNowRequest>,
) -> ApiResult<Response> {
    let (run, created) = actions::run_now(&state, &principal, &name, body.args, key.as_deref()).await?;
    let view = RunView::load(&mut *state.env.pool.get().await?, run).await?;
    let status = if created { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, [(header::LOCATION, view.links.itself.clone())], Answer(view)).into_response())
}

/// What the list of ticks is narrowed to: nothing.
#[derive(IntoParams)]
pub struct TickParams {}

impl FromParams for TickParams {
    fn from_params(_: &Params) -> ApiResult<Self> {
        Ok(Self {})
    }
}

impl ListParams for TickParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        match cursor.direction {
            Direction::Older => cursor.single::<DateTime<Utc>>().map(drop),
            Direction::Newer => Err(InvalidCursor),
        }
    }
}

/// List the ticks of a schedule, newest first.
#[utoipa::path(get, path = "/api/v1/schedules/{name}/ticks", tag = "schedules",
    params(("name" = String, Path, description = "The schedule"), crate::params::PageParams), responses(
    (status = 200, description = "A page; `previous` is always null", body = Listing<TickView>),
    (status = 404, description = "There is no such schedule"),
))]
pub async fn list_ticks(
    State(state): State<AppState>,
    PathText(name): PathText,
    query: ListQuery<TickParams>,
) -> ApiResult<Response> {
    let conn = &mut *state.env.pool.get().await?;
    let schedule = actions::find(conn, &name).await?;
    let before = query.page.cursor.as_ref().map(Cursor::single::<DateTime<Utc>>).transpose()?;
    let mut ticks = queries::ticks(conn, schedule.id, before, query.page.limit + 1).await?;
    let more = ticks.len() as i64 > query.page.limit;
    ticks.truncate(query.page.limit as usize);
    let last =
        ticks.last().map(|(tick, _)| tick.nominal_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true));
    let older =
        last.filter(|_| more).map(|key| Cursor { direction: Direction::Older, key: vec![key] }.encode());
    let page = Page { items: ticks, older, newer: None };
    Ok(Listing::of(page, TickView::new).respond(&query.uri))
}

/// An expression to be read.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CronParams {
    /// The cron expression.
    #[param(example = "30 2 * * MON-FRI")]
    cron: String,
    /// IANA name of the zone; the reporting zone if absent.
    #[param(example = "Europe/Berlin")]
    zone: Option<String>,
    /// For times that do not exist: `skip`, `shift`; `shift` if absent.
    #[param(value_type = Option<String>)]
    missing: Option<MissingTime>,
    /// For times that come twice: `first`, `second`, `both`; what suits the expression if absent.
    #[param(value_type = Option<String>)]
    repeated: Option<RepeatedTime>,
    /// The first time is after this moment; now if absent.
    #[param(value_type = Option<String>, example = "2026-10-24")]
    after: Option<DateTime<Utc>>,
}

impl FromParams for CronParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self {
            cron: params.text("cron")?.unwrap_or_default(),
            zone: params.text("zone")?,
            missing: params.parsed("missing")?,
            repeated: params.parsed("repeated")?,
            after: params.from("after")?,
        })
    }
}

/// Read a cron expression: what it means, and its next times.
#[utoipa::path(get, path = "/api/v1/cron", tag = "schedules", params(CronParams), responses(
    (status = 200, description = "The expression in words, and its next five times", body = CronView),
    (status = 400, description = "It cannot be read; the answer says which field is wrong"),
))]
pub async fn read_cron(
    State(state): State<AppState>,
    QueryOf(params): QueryOf<CronParams>,
) -> ApiResult<Answer<CronView>> {
    let expression = Expression::read(&params.cron).map_err(|why| ApiError::bad_parameter("cron", why))?;
    let zone = match &params.zone {
        None => state.env.settings.zone,
        Some(name) => name.parse().map_err(|_| {
            ApiError::bad_parameter(
                "zone",
                format!("There is no zone {name:?}; name one such as Europe/Berlin."),
            )
        })?,
    };
    let suits = if expression.is_hourly() { RepeatedTime::Both } else { RepeatedTime::First };
    let repeated = params.repeated.unwrap_or(suits);
    let words = expression.words();
    let timetable =
        Timetable { expression, zone, missing: params.missing.unwrap_or(MissingTime::Shift), repeated };
    let after = params.after.unwrap_or_else(|| state.env.clock.now());
    let upcoming = timetable.upcoming(after, UPCOMING);
    if upcoming.is_empty() {
        return Err(ApiError::bad_parameter("cron", "It never comes: no day of the calendar is like this."));
    }
    Ok(Answer(CronView {
        words,
        repeated,
        upcoming: upcoming.iter().map(|one| OccurrenceView::new(one, zone)).collect(),
    }))
}
