//! Runs: what there is to do, what is being done, what went wrong; retry, cancel and clone.

use crate::{
    actions::{self, CloneRequest},
    app::AppState,
    auth::Principal,
    error::ApiResult,
    list::{self, Listing},
    params::{
        FromParams, IdempotencyKey, JsonOrNothing, ListParams, ListQuery, NoQuery, PageParams, Params,
        PathId, QueryOf,
    },
    views::{
        runs::{AttemptView, DroppedView, LogPage, LogView, PlannedAttempt, RunDetail, RunView, StateCount},
        words,
    },
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use shared::{
    ids::{RunId, WorkerId},
    pagination::{Cursor, Direction, InvalidCursor},
    runs::{Queue, Run, RunState, counts::count_by_state, queries, queries::RunFilter},
};
use utoipa::IntoParams;

/// What a list of runs is narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunParams {
    /// Any of these states, repeated or separated by commas.
    #[param(schema_with = words::run_states)]
    state: Option<Vec<RunState>>,
    /// Only this kind of job.
    kind: Option<String>,
    /// Only this queue.
    #[param(value_type = Option<String>, example = "ingest")]
    queue: Option<Queue>,
    /// Only this flow: the id of its root run.
    #[param(value_type = Option<uuid::Uuid>)]
    flow: Option<RunId>,
    /// Only runs whose error holds this text, without regard to case.
    error: Option<String>,
    /// Only runs that failed alike.
    fingerprint: Option<String>,
    /// Only runs that this worker runs.
    #[param(value_type = Option<uuid::Uuid>)]
    worker: Option<WorkerId>,
}

impl FromParams for RunParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self {
            state: Some(params.list("state")?),
            kind: params.text("kind")?,
            queue: params.parsed("queue")?,
            flow: params.parsed("flow")?,
            error: params.text("error")?,
            fingerprint: params.long_text("fingerprint")?,
            worker: params.parsed("worker")?,
        })
    }
}

impl ListParams for RunParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        cursor.single::<RunId>().map(drop)
    }
}

impl From<RunParams> for RunFilter {
    fn from(params: RunParams) -> Self {
        Self {
            states: params.state.unwrap_or_default(),
            kind: params.kind,
            queue: params.queue.map(|queue| queue.to_string()),
            flow: params.flow,
            error: params.error,
            fingerprint: params.fingerprint,
            worker: params.worker,
            parent: None,
        }
    }
}

/// List runs, newest first.
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", params(RunParams, PageParams), responses(
    (status = 200, description = "A page of runs", body = Listing<RunView>),
))]
pub async fn list_runs(State(state): State<AppState>, query: ListQuery<RunParams>) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let page = queries::list_runs(&mut conn, &query.params.into(), &query.page).await?;
    let (items, next, previous) = (RunView::list(&mut conn, page.items).await?, page.older, page.newer);
    Ok(Listing { items, next, previous }.respond(&query.uri))
}

/// Count runs by state, with the same filters as the list.
#[utoipa::path(get, path = "/api/v1/run-states", tag = "runs", params(RunParams), responses(
    (status = 200, description = "How many runs are in each state; states without runs are left out",
     body = Listing<StateCount>),
))]
pub async fn count_runs(
    State(state): State<AppState>,
    QueryOf(params): QueryOf<RunParams>,
) -> ApiResult<Json<Listing<StateCount>>> {
    let mut conn = state.env.pool.get().await?;
    let filter = RunFilter::from(params);
    let mut counts = count_by_state(&mut conn, &filter).await?;
    counts.retain(|count| filter.states.is_empty() || filter.states.contains(&count.state));
    Ok(Json(Listing::whole(counts.into_iter().map(StateCount::from).collect())))
}

/// Show a run.
#[utoipa::path(get, path = "/api/v1/runs/{id}", tag = "runs",
    params(("id" = uuid::Uuid, Path, description = "The run")), responses(
    (status = 200, description = "The run", body = RunDetail),
    (status = 404, description = "There is no such run"),
))]
pub async fn show_run(
    State(state): State<AppState>,
    PathId(id): PathId<RunId>,
    _: NoQuery,
) -> ApiResult<Json<RunDetail>> {
    let mut conn = state.env.pool.get().await?;
    let run = queries::find_run(&mut conn, id).await?.ok_or_else(|| actions::no_run(id))?;
    let filter = RunFilter { parent: Some(id), ..RunFilter::default() };
    let children = count_by_state(&mut conn, &filter).await?;
    Ok(Json(RunDetail {
        children: children.into_iter().map(StateCount::from).collect(),
        planned_attempts: PlannedAttempt::of(&run, state.env.kinds),
        run: RunView::load(&mut conn, run).await?,
    }))
}

/// List a run's attempts, first to last.
#[utoipa::path(get, path = "/api/v1/runs/{id}/attempts", tag = "runs",
    params(("id" = uuid::Uuid, Path, description = "The run")), responses(
    (status = 200, description = "All attempts", body = Listing<AttemptView>),
    (status = 404, description = "There is no such run"),
))]
pub async fn list_attempts(
    State(state): State<AppState>,
    PathId(id): PathId<RunId>,
    _: NoQuery,
) -> ApiResult<Json<Listing<AttemptView>>> {
    let mut conn = state.env.pool.get().await?;
    queries::find_run(&mut conn, id).await?.ok_or_else(|| actions::no_run(id))?;
    let attempts = queries::attempts(&mut conn, id).await?;
    Ok(Json(Listing::whole(attempts.into_iter().map(AttemptView::from).collect())))
}

/// What part of a log is wanted.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogParams {
    /// Only lines after the one with this id: to follow a log, pass the last id seen.
    after: Option<i64>,
}

impl FromParams for LogParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self { after: params.parsed("after")? })
    }
}

impl ListParams for LogParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        cursor.single::<i64>().map(drop)
    }
}

/// List a run's log lines, oldest first.
#[utoipa::path(get, path = "/api/v1/runs/{id}/logs", tag = "runs",
    params(("id" = uuid::Uuid, Path, description = "The run"), LogParams, PageParams), responses(
    (status = 200, description = "A page of the log", body = LogPage),
    (status = 404, description = "There is no such run"),
))]
pub async fn list_logs(
    State(state): State<AppState>,
    PathId(id): PathId<RunId>,
    query: ListQuery<LogParams>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    queries::find_run(&mut conn, id).await?.ok_or_else(|| actions::no_run(id))?;
    let resumed = query.page.cursor.as_ref().and_then(|cursor| cursor.single::<i64>().ok());
    let after = resumed.into_iter().chain(query.params.after).max().unwrap_or(0);
    let mut lines = queries::logs(&mut conn, id, after, query.page.limit + 1).await?;
    let more = lines.len() as i64 > query.page.limit;
    lines.truncate(usize::try_from(query.page.limit).unwrap_or(usize::MAX));
    let next = lines
        .last()
        .filter(|_| more)
        .map(|line| Cursor { direction: Direction::Older, key: vec![line.id.to_string()] }.encode());
    let dropped = queries::dropped_lines(&mut conn, id).await?.into_iter().map(DroppedView::from).collect();
    let items = lines.into_iter().map(LogView::from).collect();
    let links = list::links(&query.uri, next.as_deref(), None);
    Ok((links, Json(LogPage { items, next, previous: None, dropped })).into_response())
}

/// What a list of children is narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ChildParams {
    /// Any of these states, repeated or separated by commas.
    #[param(schema_with = words::run_states)]
    state: Option<Vec<RunState>>,
}

impl FromParams for ChildParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self { state: Some(params.list("state")?) })
    }
}

impl ListParams for ChildParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        cursor.single::<RunId>().map(drop)
    }
}

/// List a run's children, newest first.
#[utoipa::path(get, path = "/api/v1/runs/{id}/children", tag = "runs",
    params(("id" = uuid::Uuid, Path, description = "The run"), ChildParams, PageParams), responses(
    (status = 200, description = "A page of runs", body = Listing<RunView>),
    (status = 404, description = "There is no such run"),
))]
pub async fn list_children(
    State(state): State<AppState>,
    PathId(id): PathId<RunId>,
    query: ListQuery<ChildParams>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    queries::find_run(&mut conn, id).await?.ok_or_else(|| actions::no_run(id))?;
    let states = query.params.state.unwrap_or_default();
    let filter = RunFilter { parent: Some(id), states, ..RunFilter::default() };
    let page = queries::list_runs(&mut conn, &filter, &query.page).await?;
    let (items, next, previous) = (RunView::list(&mut conn, page.items).await?, page.older, page.newer);
    Ok(Listing { items, next, previous }.respond(&query.uri))
}

/// Run an ended run again.
///
/// Of a flow only what did not complete runs again.
#[utoipa::path(post, path = "/api/v1/runs/{id}/retry", tag = "runs",
    params(("id" = uuid::Uuid, Path, description = "The run")), responses(
    (status = 202, description = "The run, waiting again", body = RunView),
    (status = 200, description = "Another run that has not ended and stands for it: it holds the unique key",
     body = RunView, headers(("Location" = String, description = "That run"))),
    (status = 404, description = "There is no such run"),
    (status = 409, description = "The run's state refuses, or another upload has taken its place"),
))]
pub async fn retry_run(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<RunId>,
    _: NoQuery,
) -> ApiResult<Response> {
    let run = actions::retry_run(&state, &principal, id).await?;
    let status = if run.id == id { StatusCode::ACCEPTED } else { StatusCode::OK };
    answer(&state, status, run).await
}

/// A run as the answer to an action, with its place.
async fn answer(state: &AppState, status: StatusCode, run: Run) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let view = RunView::load(&mut conn, run).await?;
    Ok((status, [(header::LOCATION, view.links.itself.clone())], Json(view)).into_response())
}

/// Cancel a run and its unfinished children.
///
/// What waits ends at once; what is running is asked to stop (`cancel_requested`).
#[utoipa::path(post, path = "/api/v1/runs/{id}/cancel", tag = "runs",
    params(("id" = uuid::Uuid, Path, description = "The run")), responses(
    (status = 202, description = "The run, cancelled or asked to stop", body = RunView),
    (status = 404, description = "There is no such run"),
    (status = 409, description = "The run has ended already"),
))]
pub async fn cancel_run(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<RunId>,
    _: NoQuery,
) -> ApiResult<Response> {
    let run = actions::cancel_run(&state, &principal, id).await?;
    answer(&state, StatusCode::ACCEPTED, run).await
}

/// Enqueue a run like another.
///
/// With other arguments if `args` is given: they are read strictly, by the kind's `args_schema`. A clone
/// stands alone: it belongs to no flow.
#[utoipa::path(post, path = "/api/v1/runs/{id}/clone", tag = "runs", request_body = Option<CloneRequest>,
    params(("id" = uuid::Uuid, Path, description = "The run that is cloned"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 201, description = "The new run", body = RunView,
     headers(("Location" = String, description = "The new run"))),
    (status = 200, description = "The unfinished run that stands for it, or the run that the same request made before",
     body = RunView, headers(("Location" = String, description = "That run"))),
    (status = 404, description = "There is no such run"),
    (status = 409, description = "Runs of this kind cannot be cloned"),
    (status = 422, description = "The kind refuses an argument (`field` is `args.<path>`), or the Idempotency-Key was used for another request"),
))]
pub async fn clone_run(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<RunId>,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
    JsonOrNothing(body): JsonOrNothing<CloneRequest>,
) -> ApiResult<Response> {
    let (run, created) = actions::clone_run(&state, &principal, id, &body, key.as_deref()).await?;
    answer(&state, if created { StatusCode::CREATED } else { StatusCode::OK }, run).await
}
