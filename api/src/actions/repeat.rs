//! Requests that are sent again under the same `Idempotency-Key`. Both steps belong in the transaction
//! that makes the resource.

use crate::error::{ApiError, ApiResult};
use diesel_async::AsyncPgConnection;
use serde::Serialize;
use shared::idempotency::{self, Claim};
use std::str::FromStr;

/// The earlier resource's id if the request is a repeated one. `what` and `body` describe the request;
/// the body's serialisation leaves secrets out.
pub async fn claim<T: FromStr>(
    conn: &mut AsyncPgConnection,
    actor: &str,
    key: Option<&str>,
    what: &str,
    body: &impl Serialize,
) -> ApiResult<Option<T>> {
    let Some(key) = key else { return Ok(None) };
    let fingerprint = format!("{what} {}", serde_json::to_string(body).map_err(ApiError::internal)?);
    match idempotency::claim(conn, actor, key, &fingerprint).await? {
        Claim::Fresh => Ok(None),
        Claim::Repeated(id) => {
            id.parse().map(Some).map_err(|_| ApiError::internal("a key without its resource"))
        }
        Claim::Reused => Err(ApiError::key_reused(
            "This Idempotency-Key was used for another request; use a fresh key for a different one.",
        )),
    }
}

/// Notes which resource a claimed key stands for.
pub async fn point(conn: &mut AsyncPgConnection, actor: &str, key: Option<&str>, id: &str) -> ApiResult<()> {
    match key {
        Some(key) => Ok(idempotency::point(conn, actor, key, id).await?),
        None => Ok(()),
    }
}
