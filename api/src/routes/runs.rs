//! Runs: what there is to do, what is being done, what went wrong; retry and cancel.

use crate::{
    actions,
    app::AppState,
    auth::Principal,
    error::ApiResult,
    list::Listing,
    params::{FromParams, ListParams, ListQuery, NoQuery, PageParams, Params, PathId, QueryOf},
    views::{
        runs::{AttemptView, LogView, PlannedAttempt, RunDetail, RunView, StateCount, WorkerView},
        words,
    },
};
use axum::{Json, extract::State, http::StatusCode, response::Response};
use shared::{
    ids::RunId,
    pagination::{Cursor, Direction, InvalidCursor},
    runs::{Queue, RunState, queries, queries::RunFilter, workers},
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
}

impl FromParams for RunParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self {
            state: Some(params.list("state")?),
            kind: params.text("kind")?,
            queue: params.parsed("queue")?,
            flow: params.parsed("flow")?,
            error: params.text("error")?,
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
            ..Self::default()
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
    Ok(Listing::of(page, RunView::from).respond(&query.uri))
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
    let mut counts = queries::count_by_state(&mut conn, &filter).await?;
    counts.retain(|(state, _)| filter.states.is_empty() || filter.states.contains(state));
    counts.sort_unstable();
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
    let mut children = queries::count_by_state(&mut conn, &filter).await?;
    children.sort_unstable();
    Ok(Json(RunDetail {
        children: children.into_iter().map(StateCount::from).collect(),
        planned_attempts: PlannedAttempt::of(&run),
        run: run.into(),
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
    (status = 200, description = "A page of the log; `previous` is always null", body = Listing<LogView>),
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
    let items = lines.into_iter().map(LogView::from).collect();
    Ok(Listing { items, next, previous: None }.respond(&query.uri))
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
    Ok(Listing::of(page, RunView::from).respond(&query.uri))
}

/// Run an ended run again.
///
/// Of a flow only what did not complete runs again.
#[utoipa::path(post, path = "/api/v1/runs/{id}/retry", tag = "runs",
    params(("id" = uuid::Uuid, Path, description = "The run")), responses(
    (status = 202, description = "The run, waiting again", body = RunView),
    (status = 404, description = "There is no such run"),
    (status = 409, description = "The run's state refuses, or another run or upload has taken its place"),
))]
pub async fn retry_run(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<RunId>,
    _: NoQuery,
) -> ApiResult<(StatusCode, Json<RunView>)> {
    let run = actions::retry_run(&state, &principal, id).await?;
    Ok((StatusCode::ACCEPTED, Json(run.into())))
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
) -> ApiResult<(StatusCode, Json<RunView>)> {
    let run = actions::cancel_run(&state, &principal, id).await?;
    Ok((StatusCode::ACCEPTED, Json(run.into())))
}

/// List the workers that live or were seen in the last day, newest first.
#[utoipa::path(get, path = "/api/v1/workers", tag = "runs", responses(
    (status = 200, description = "At most 100 workers", body = Listing<WorkerView>),
))]
pub async fn list_workers(State(state): State<AppState>, _: NoQuery) -> ApiResult<Json<Listing<WorkerView>>> {
    let mut conn = state.env.pool.get().await?;
    let workers = workers::recent(&mut conn).await?;
    Ok(Json(Listing::whole(workers.into_iter().map(WorkerView::from).collect())))
}
