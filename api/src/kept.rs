//! Answers that are JSON already: as it was kept in the cache ([`shared::cache`]), which is never stale, or as
//! [`crate::views::quick`] wrote it.

use crate::{
    app::AppState,
    error::{ApiError, ApiResult},
    list::links,
};
use axum::{
    http::{HeaderValue, Uri, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use shared::cache::Topic;

/// What is kept, or what `read` returns now; `None` if that is nothing.
pub async fn find<T, F>(
    state: &AppState,
    topic: &Topic,
    entry: &str,
    read: impl FnOnce() -> F,
) -> ApiResult<Option<Response>>
where
    T: Serialize,
    F: Future<Output = ApiResult<Option<T>>>,
{
    Ok(state.env.cache.json(&state.env.pool, topic, entry, read).await?.map(answer))
}

/// An answer that is JSON already.
pub fn answer(json: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
}

/// A page of a list at `uri`, with its links.
pub async fn page<T, F>(
    state: &AppState,
    topic: &Topic,
    uri: &Uri,
    read: impl FnOnce() -> F,
) -> ApiResult<Option<Response>>
where
    T: Serialize,
    F: Future<Output = ApiResult<Option<T>>>,
{
    #[derive(Deserialize)]
    struct Beside {
        next: Option<String>,
        previous: Option<String>,
    }
    let entry = uri.query().unwrap_or_default();
    let Some(json) = state.env.cache.json(&state.env.pool, topic, entry, read).await? else {
        return Ok(None);
    };
    let beside: Beside = serde_json::from_str(&json).map_err(ApiError::internal)?;
    let links = links(uri, beside.next.as_deref(), beside.previous.as_deref());
    Ok(Some((links, answer(json)).into_response()))
}
