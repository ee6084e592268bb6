//! Workers: who is there, and what each does.

use crate::{
    app::AppState,
    error::{ApiError, ApiResult},
    list::Listing,
    params::{NoQuery, PathId},
    views::{
        runs::RunView,
        workers::{WorkerDetail, WorkerView},
    },
};
use axum::{Json, extract::State};
use shared::{ids::WorkerId, runs::workers};

/// Runs of a worker that are shown with it.
const RUNS: i64 = 500;

/// List the workers that live or were seen in the last day: the living first, then the newest.
#[utoipa::path(get, path = "/api/v1/workers", tag = "engine", responses(
    (status = 200, description = "At most 100 workers", body = Listing<WorkerView>),
))]
pub async fn list_workers(State(state): State<AppState>, _: NoQuery) -> ApiResult<Json<Listing<WorkerView>>> {
    let mut conn = state.env.pool.get().await?;
    let workers = workers::recent(&mut conn).await?;
    Ok(Json(Listing::whole(workers.into_iter().map(WorkerView::from).collect())))
}

/// Show a worker and what it runs now.
#[utoipa::path(get, path = "/api/v1/workers/{id}", tag = "engine",
    params(("id" = uuid::Uuid, Path, description = "The worker")), responses(
    (status = 200, description = "The worker", body = WorkerDetail),
    (status = 404, description = "There is no such worker"),
))]
pub async fn show_worker(
    State(state): State<AppState>,
    PathId(id): PathId<WorkerId>,
    _: NoQuery,
) -> ApiResult<Json<WorkerDetail>> {
    let mut conn = state.env.pool.get().await?;
    let worker = workers::find(&mut conn, id).await?;
    let worker = worker.ok_or_else(|| ApiError::not_found(format!("There is no worker {id}.")))?;
    let runs = workers::runs_of(&mut conn, id, RUNS).await?;
    let runs = RunView::list(&mut conn, runs).await?;
    Ok(Json(WorkerDetail { worker: worker.into(), runs }))
}
