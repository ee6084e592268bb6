//! Times of a schedule that have passed: how they stand, and running them after all. And what somebody has to
//! look at.

use crate::{
    actions::schedules::{self as actions, BackfillRequest},
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    list::Listing,
    params::{FromParams, IdempotencyKey, Json, NoQuery, Params, PathId, PathText, QueryOf},
    views::{
        runs::RunView,
        schedules::{AlertView, BackfillView, PastTimeView},
    },
};
use axum::{
    Json as Answer,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use shared::{
    audit,
    schedules::{
        alerts,
        backfill::{self, Wanted},
    },
};
use utoipa::IntoParams;

/// Runs at once, unless somebody says otherwise.
pub const AT_ONCE: i32 = 2;
/// Alerts of one answer.
const ALERTS: i64 = 500;

/// Which times are looked at.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BackfillParams {
    /// From here on: a day's beginning in the reporting zone, or an instant.
    #[param(value_type = String, example = "2026-11-01")]
    from: Option<DateTime<Utc>>,
    /// To the end of this day, or before this instant; now if absent.
    #[param(value_type = Option<String>, example = "2026-11-26")]
    until: Option<DateTime<Utc>>,
    /// Whether those that are done would be run again, too.
    all: bool,
}

impl FromParams for BackfillParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self { from: params.from("from")?, until: params.until("until")?, all: params.flag("all")? })
    }
}

/// The range that was asked for.
fn wanted(
    from: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    all: bool,
    now: DateTime<Utc>,
) -> ApiResult<Wanted> {
    let from = from.ok_or_else(|| {
        ApiError::invalid("from", "Say where the range begins: a day (2026-11-01) or an instant.")
    })?;
    Ok(Wanted { from, until: until.unwrap_or(now), all })
}

/// The range that a body or a form asks for.
pub fn read_wanted(zone: Tz, now: DateTime<Utc>, request: &BackfillRequest) -> ApiResult<Wanted> {
    let pairs = [("from", Some(&request.from)), ("until", request.until.as_ref())];
    let pairs =
        pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.trim().to_owned())));
    let params = Params::of(pairs.collect(), zone);
    let invalid = |error: ApiError, field: &str| ApiError::invalid(field, error.problem().detail.clone());
    let from = params.from("from").map_err(|error| invalid(error, "from"))?;
    let until = params.until("until").map_err(|error| invalid(error, "until"))?;
    wanted(from, until, request.all, now)
}

/// Show what a backfill would do: the schedule's times in a range, and which of them it would run.
///
/// At most 10,000 times.
#[utoipa::path(get, path = "/api/v1/schedules/{name}/backfill", tag = "schedules",
    params(("name" = String, Path, description = "The schedule"), BackfillParams), responses(
    (status = 200, description = "The times", body = BackfillView),
    (status = 404, description = "There is no such schedule"),
    (status = 422, description = "The range cannot be used"),
))]
pub async fn preview_backfill(
    State(state): State<AppState>,
    PathText(name): PathText,
    QueryOf(params): QueryOf<BackfillParams>,
) -> ApiResult<Answer<BackfillView>> {
    let conn = &mut *state.env.pool.get().await?;
    let schedule = actions::find(conn, &name).await?;
    let wanted = wanted(params.from, params.until, params.all, state.env.clock.now())?;
    let times = backfill::times(conn, &schedule, wanted).await?;
    Ok(Answer(BackfillView {
        chosen: times.iter().filter(|time| time.chosen).count(),
        times: times.into_iter().map(PastTimeView::from).collect(),
    }))
}

/// Run times that have passed after all: by default those without a run, or whose run failed.
///
/// They run oldest first, a few at once, behind all live work.
#[utoipa::path(post, path = "/api/v1/schedules/{name}/backfill", tag = "schedules", request_body = BackfillRequest,
    params(("name" = String, Path, description = "The schedule"),
           ("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 202, description = "The run that does it", body = RunView, headers(("Location" = String))),
    (status = 200, description = "The run that the same request started before", body = RunView),
    (status = 404, description = "There is no such schedule"),
    (status = 422, description = "The range cannot be used, or nothing is to be done in it"),
))]
pub async fn start_backfill(
    State(state): State<AppState>,
    principal: Principal,
    PathText(name): PathText,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
    Json(body): Json<BackfillRequest>,
) -> ApiResult<Response> {
    let wanted = read_wanted(state.env.settings.zone, state.env.clock.now(), &body)?;
    let at_once = body.at_once.unwrap_or(AT_ONCE);
    let (run, created) =
        actions::backfill(&state, &principal, &name, wanted, at_once, key.as_deref()).await?;
    let view = RunView::load(&mut *state.env.pool.get().await?, run).await?;
    let status = if created { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, [(header::LOCATION, view.links.itself.clone())], Answer(view)).into_response())
}

/// Which alerts are listed.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AlertParams {
    /// Also those that have ended or that somebody has seen.
    all: bool,
}

impl FromParams for AlertParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self { all: params.flag("all")? })
    }
}

/// List what somebody has to look at, newest first.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "schedules", params(AlertParams), responses(
    (status = 200, description = "At most 500; there are no pages", body = Listing<AlertView>),
))]
pub async fn list_alerts(
    State(state): State<AppState>,
    QueryOf(params): QueryOf<AlertParams>,
) -> ApiResult<Answer<Listing<AlertView>>> {
    let alerts = alerts::list(&mut *state.env.pool.get().await?, params.all, ALERTS).await?;
    Ok(Answer(Listing::whole(alerts.into_iter().map(AlertView::from).collect())))
}

/// Notes that somebody has seen an alert, from the API and from the page.
pub async fn acknowledge(state: &AppState, principal: &Principal, id: i64) -> ApiResult<alerts::Alert> {
    let conn = &mut *state.env.pool.get().await?;
    let alert = alerts::acknowledge(conn, id, &principal.name).await?;
    let alert = alert.ok_or_else(|| ApiError::not_found(format!("There is no alert {id}.")))?;
    audit::record(
        conn,
        &principal.name,
        "alert.acknowledge",
        &alert.subject,
        &serde_json::json!({ "alert": id }),
    )
    .await?;
    Ok(alert)
}

/// Note that somebody has seen an alert. One that was seen before stays so.
#[utoipa::path(post, path = "/api/v1/alerts/{id}/acknowledge", tag = "schedules",
    params(("id" = i64, Path, description = "The alert's number")), responses(
    (status = 200, description = "The alert", body = AlertView),
    (status = 404, description = "There is no such alert"),
))]
pub async fn acknowledge_alert(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<i64>,
    _: NoQuery,
) -> ApiResult<Answer<AlertView>> {
    Ok(Answer(acknowledge(&state, &principal, id).await?.into()))
}
