//! Actions on many runs at once. A run of its own does them.

use crate::{
    actions::bulk::{self, Asked, BulkRequest, Deed},
    app::AppState,
    auth::Principal,
    error::ApiResult,
    params::{IdempotencyKey, Json, NoQuery},
    views::runs::{BulkView, RunView},
};
use axum::{
    Json as Answer,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

/// The answer to a request for an action on many runs: the run that does it.
pub async fn answer(state: &AppState, asked: Asked) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let run = RunView::load(&mut conn, asked.run).await?;
    let location = [(header::LOCATION, run.links.itself.clone())];
    let status = if asked.created { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, location, Answer(BulkView { run, matched: asked.matched })).into_response())
}

/// Run many ended runs again.
///
/// Those of them that failed, were discarded or cancelled by now; of flows only what did not complete.
/// Either `ids` or a `filter`; a filter that would let every run through has to say `"all": true`.
#[utoipa::path(post, path = "/api/v1/runs:retry", tag = "runs", request_body = BulkRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 202, description = "The run that does it, and how many runs match now", body = BulkView,
     headers(("Location" = String, description = "The run that does it"))),
    (status = 200, description = "The run that the same request asked for before", body = BulkView),
    (status = 422, description = "No selection, an empty one, or one that nothing can match"),
))]
pub async fn retry_runs(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
    Json(body): Json<BulkRequest>,
) -> ApiResult<Response> {
    let asked = bulk::ask(&state, &principal, Deed::Retry, body, key.as_deref()).await?;
    answer(&state, asked).await
}

/// Cancel many runs that have not ended.
///
/// What waits ends at once, what runs is asked to stop. Either `ids` or a `filter`; a filter that would
/// let every run through has to say `"all": true`.
#[utoipa::path(post, path = "/api/v1/runs:cancel", tag = "runs", request_body = BulkRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 202, description = "The run that does it, and how many runs match now", body = BulkView,
     headers(("Location" = String, description = "The run that does it"))),
    (status = 200, description = "The run that the same request asked for before", body = BulkView),
    (status = 422, description = "No selection, an empty one, or one that nothing can match"),
))]
pub async fn cancel_runs(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
    Json(body): Json<BulkRequest>,
) -> ApiResult<Response> {
    let asked = bulk::ask(&state, &principal, Deed::Cancel, body, key.as_deref()).await?;
    answer(&state, asked).await
}
