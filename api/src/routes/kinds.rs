//! Kinds of jobs: what they promise; pause and resume.

use crate::{
    actions::engine::{self, PauseRequest},
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    list::Listing,
    params::{JsonOrNothing, NoQuery, PathText},
    views::kinds::KindView,
};
use axum::{Json as Answer, extract::State};
use shared::runs::queues::{self, PauseTarget};

async fn views(state: &AppState) -> ApiResult<Vec<KindView>> {
    let pauses = queues::paused(&mut *state.env.pool.get().await?).await?;
    Ok(state.env.kinds.iter().map(|kind| KindView::new(kind, &pauses)).collect())
}

async fn view(state: &AppState, name: &str) -> ApiResult<Answer<KindView>> {
    engine::kind(state, name)?;
    let found = views(state).await?.into_iter().find(|view| view.kind == name);
    found.map(Answer).ok_or_else(|| ApiError::internal("a kind that is known and is not"))
}

/// List the kinds of jobs.
#[utoipa::path(get, path = "/api/v1/kinds", tag = "engine", responses(
    (status = 200, description = "All kinds that this version knows", body = Listing<KindView>),
))]
pub async fn list_kinds(State(state): State<AppState>, _: NoQuery) -> ApiResult<Answer<Listing<KindView>>> {
    Ok(Answer(Listing::whole(views(&state).await?)))
}

/// Show a kind of job.
#[utoipa::path(get, path = "/api/v1/kinds/{name}", tag = "engine",
    params(("name" = String, Path, description = "The kind")), responses(
    (status = 200, description = "The kind", body = KindView),
    (status = 404, description = "There is no such kind; the answer lists those there are"),
))]
pub async fn show_kind(
    State(state): State<AppState>,
    PathText(name): PathText,
    _: NoQuery,
) -> ApiResult<Answer<KindView>> {
    view(&state, &name).await
}

/// Pause a kind: its runs are not begun; what runs goes on.
///
/// Pausing again replaces reason and time.
#[utoipa::path(post, path = "/api/v1/kinds/{name}/pause", tag = "engine", request_body = Option<PauseRequest>,
    params(("name" = String, Path, description = "The kind")), responses(
    (status = 200, description = "The kind", body = KindView),
    (status = 404, description = "There is no such kind; the answer lists those there are"),
    (status = 422, description = "`until` is not in the future, or `reason` is too long"),
))]
pub async fn pause_kind(
    State(state): State<AppState>,
    principal: Principal,
    PathText(name): PathText,
    _: NoQuery,
    JsonOrNothing(body): JsonOrNothing<PauseRequest>,
) -> ApiResult<Answer<KindView>> {
    engine::pause(&state, &principal, PauseTarget::Kind, engine::kind(&state, &name)?, body).await?;
    view(&state, &name).await
}

/// Resume a kind. One that is not paused stays so.
#[utoipa::path(post, path = "/api/v1/kinds/{name}/resume", tag = "engine",
    params(("name" = String, Path, description = "The kind")), responses(
    (status = 200, description = "The kind", body = KindView),
    (status = 404, description = "There is no such kind; the answer lists those there are"),
))]
pub async fn resume_kind(
    State(state): State<AppState>,
    principal: Principal,
    PathText(name): PathText,
    _: NoQuery,
) -> ApiResult<Answer<KindView>> {
    engine::resume(&state, &principal, PauseTarget::Kind, engine::kind(&state, &name)?).await?;
    view(&state, &name).await
}
