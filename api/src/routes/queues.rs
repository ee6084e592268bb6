//! Queues: how they stand; pause, resume, limit.

use crate::{
    actions::engine::{self, PauseRequest},
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    list::Listing,
    params::{Json, JsonOrNothing, NoQuery, PathText},
    views::queues::QueueView,
};
use axum::{Json as Answer, extract::State};
use diesel_async::AsyncPgConnection;
use serde::{Deserialize, Serialize};
use shared::runs::{
    Queue,
    queues::{self, PauseTarget},
};
use utoipa::ToSchema;

/// How many runs of a queue may run at once.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitRequest {
    /// On all workers together, 1 to 10,000; null lifts the limit.
    // Named, so that a body without it is refused instead of lifting the limit.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(minimum = 1, maximum = 10_000, required = true)]
    max_running: Option<i32>,
}

async fn views(conn: &mut AsyncPgConnection) -> ApiResult<Vec<QueueView>> {
    let pauses = queues::paused(conn).await?;
    let standings = queues::standings(conn).await?;
    Ok(standings.into_iter().map(|standing| QueueView::new(standing, &pauses)).collect())
}

async fn view(state: &AppState, queue: Queue) -> ApiResult<Answer<QueueView>> {
    let views = views(&mut *state.env.pool.get().await?).await?;
    let found = views.into_iter().find(|view| view.queue == queue.as_str());
    found.map(Answer).ok_or_else(|| ApiError::internal(format!("the queue {queue} has no standing")))
}

/// List the queues and how they stand.
#[utoipa::path(get, path = "/api/v1/queues", tag = "engine", responses(
    (status = 200, description = "All queues", body = Listing<QueueView>),
))]
pub async fn list_queues(State(state): State<AppState>, _: NoQuery) -> ApiResult<Answer<Listing<QueueView>>> {
    Ok(Answer(Listing::whole(views(&mut *state.env.pool.get().await?).await?)))
}

/// Show how a queue stands.
#[utoipa::path(get, path = "/api/v1/queues/{name}", tag = "engine",
    params(("name" = String, Path, description = "The queue")), responses(
    (status = 200, description = "The queue", body = QueueView),
    (status = 404, description = "There is no such queue; the answer lists those there are"),
))]
pub async fn show_queue(
    State(state): State<AppState>,
    PathText(name): PathText,
    _: NoQuery,
) -> ApiResult<Answer<QueueView>> {
    view(&state, engine::queue(&name)?).await
}

/// Pause a queue: its runs are not begun; what runs goes on.
///
/// Pausing again replaces reason and time.
#[utoipa::path(post, path = "/api/v1/queues/{name}/pause", tag = "engine", request_body = Option<PauseRequest>,
    params(("name" = String, Path, description = "The queue")), responses(
    (status = 200, description = "The queue", body = QueueView),
    (status = 404, description = "There is no such queue; the answer lists those there are"),
    (status = 422, description = "`until` is not in the future, or `reason` is too long"),
))]
pub async fn pause_queue(
    State(state): State<AppState>,
    principal: Principal,
    PathText(name): PathText,
    _: NoQuery,
    JsonOrNothing(body): JsonOrNothing<PauseRequest>,
) -> ApiResult<Answer<QueueView>> {
    let queue = engine::queue(&name)?;
    engine::pause(&state, &principal, PauseTarget::Queue, queue.as_str(), body).await?;
    view(&state, queue).await
}

/// Resume a queue. One that is not paused stays so.
#[utoipa::path(post, path = "/api/v1/queues/{name}/resume", tag = "engine",
    params(("name" = String, Path, description = "The queue")), responses(
    (status = 200, description = "The queue", body = QueueView),
    (status = 404, description = "There is no such queue; the answer lists those there are"),
))]
pub async fn resume_queue(
    State(state): State<AppState>,
    principal: Principal,
    PathText(name): PathText,
    _: NoQuery,
) -> ApiResult<Answer<QueueView>> {
    let queue = engine::queue(&name)?;
    engine::resume(&state, &principal, PauseTarget::Queue, queue.as_str()).await?;
    view(&state, queue).await
}

/// Set, or lift, how many runs of a queue may run at once on all workers together.
///
/// What runs already counts; what is too much ends in peace.
#[utoipa::path(put, path = "/api/v1/queues/{name}/limit", tag = "engine", request_body = LimitRequest,
    params(("name" = String, Path, description = "The queue")), responses(
    (status = 200, description = "The queue", body = QueueView),
    (status = 404, description = "There is no such queue; the answer lists those there are"),
    (status = 422, description = "The limit is not from 1 to 10,000"),
))]
pub async fn limit_queue(
    State(state): State<AppState>,
    principal: Principal,
    PathText(name): PathText,
    _: NoQuery,
    Json(body): Json<LimitRequest>,
) -> ApiResult<Answer<QueueView>> {
    let queue = engine::queue(&name)?;
    engine::limit(&state, &principal, queue, body.max_running).await?;
    view(&state, queue).await
}
