//! Failures, like by like; retrying all that are alike.

use super::bulk;
use crate::{
    actions::bulk::{self as action, BulkFilter, BulkRequest, Deed},
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    list::Listing,
    params::{FromParams, IdempotencyKey, ListParams, ListQuery, NoQuery, PageParams, Params, PathText},
    views::{failures::FailureView, runs::BulkView},
};
use axum::{Json, extract::State, response::Response};
use diesel_async::AsyncPgConnection;
use shared::{
    pagination::{Cursor, InvalidCursor},
    runs::{
        RunState,
        failures::{self, FailureGroup},
    },
};
use utoipa::IntoParams;

/// A list without filters.
#[derive(IntoParams)]
pub struct FailureParams {}

impl FromParams for FailureParams {
    fn from_params(_params: &Params) -> ApiResult<Self> {
        Ok(Self {})
    }
}

impl ListParams for FailureParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        failures::place(cursor).map(drop)
    }
}

/// A group, or 404.
pub async fn find(conn: &mut AsyncPgConnection, fingerprint: &str) -> ApiResult<FailureGroup> {
    let group = failures::find(conn, fingerprint).await?;
    group.ok_or_else(|| {
        ApiError::not_found(
            "No failure has this fingerprint. It may have been pruned: it was last seen long ago.",
        )
    })
}

/// The request that retries what ended so.
pub fn retry_request(fingerprint: &str) -> BulkRequest {
    let filter = BulkFilter {
        states: vec![RunState::Failed, RunState::Discarded],
        fingerprint: Some(fingerprint.to_owned()),
        ..BulkFilter::default()
    };
    BulkRequest { ids: None, filter: Some(filter) }
}

/// List groups of like failures, last seen first.
#[utoipa::path(get, path = "/api/v1/failures", tag = "engine", params(PageParams), responses(
    (status = 200, description = "A page of groups", body = Listing<FailureView>),
))]
pub async fn list_failures(
    State(state): State<AppState>,
    query: ListQuery<FailureParams>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let page = failures::groups(&mut conn, &query.page).await?;
    Ok(Listing::of(page, FailureView::from).respond(&query.uri))
}

/// Show a group of like failures.
#[utoipa::path(get, path = "/api/v1/failures/{fingerprint}", tag = "engine",
    params(("fingerprint" = String, Path, description = "The group")), responses(
    (status = 200, description = "The group", body = FailureView),
    (status = 404, description = "There is no such group"),
))]
pub async fn show_failure(
    State(state): State<AppState>,
    PathText(fingerprint): PathText,
    _: NoQuery,
) -> ApiResult<Json<FailureView>> {
    let mut conn = state.env.pool.get().await?;
    Ok(Json(find(&mut conn, &fingerprint).await?.into()))
}

/// Run all runs again that ended with this failure.
#[utoipa::path(post, path = "/api/v1/failures/{fingerprint}/retry", tag = "engine",
    params(("fingerprint" = String, Path, description = "The group"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 202, description = "The run that does it, and how many runs match now", body = BulkView,
     headers(("Location" = String, description = "The run that does it"))),
    (status = 200, description = "The run that the same request asked for before", body = BulkView),
    (status = 404, description = "There is no such group"),
))]
pub async fn retry_failure(
    State(state): State<AppState>,
    principal: Principal,
    PathText(fingerprint): PathText,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
) -> ApiResult<Response> {
    find(&mut *state.env.pool.get().await?, &fingerprint).await?;
    let asked =
        action::ask(&state, &principal, Deed::Retry, retry_request(&fingerprint), key.as_deref()).await?;
    bulk::answer(&state, asked).await
}
