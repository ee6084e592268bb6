//! Is the process alive, can it serve.

use crate::{app::AppState, error::ApiResult, params::NoQuery};
use axum::{Json, extract::State, http::StatusCode};
use diesel::{dsl::sql, sql_types::Bool};
use diesel_async::RunQueryDsl;
use serde::Serialize;
use shared::{db, runs::workers};
use std::time::Duration;
use utoipa::ToSchema;

/// A check that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(3);

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Liveness {
    /// `ok`.
    status: &'static str,
}

/// Say that the process is alive. It looks at nothing else.
#[utoipa::path(get, path = "/livez", tag = "service", responses(
    (status = 200, description = "The process is alive", body = Liveness),
))]
pub async fn livez() -> Json<Liveness> {
    Json(Liveness { status: "ok" })
}

/// What one check found.
#[derive(Debug, Serialize, ToSchema)]
pub struct Check {
    /// database, migrations, storage, redis, workers or process.
    name: &'static str,
    /// ok, degraded (things go on, slower) or failing.
    status: &'static str,
    /// What was found.
    detail: String,
}

impl Check {
    fn new(name: &'static str, status: &'static str, detail: impl Into<String>) -> Self {
        Self { name, status, detail: detail.into() }
    }
}

/// Whether the process can serve.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// ready, degraded or unready.
    status: &'static str,
    /// What was looked at.
    checks: Vec<Check>,
}

/// Say whether the process can serve.
#[utoipa::path(get, path = "/readyz", tag = "service", responses(
    (status = 200, description = "It can, if degraded at reduced speed", body = Readiness),
    (status = 503, description = "It cannot: a check is failing", body = Readiness),
))]
pub async fn readyz(State(state): State<AppState>, _: NoQuery) -> ApiResult<(StatusCode, Json<Readiness>)> {
    let (database, storage, redis) =
        tokio::join!(check_database(&state), check_storage(&state), check_redis(&state));
    let mut checks = database;
    checks.extend([storage, redis]);
    if state.leaving.is_cancelled() {
        checks.push(Check::new("process", "failing", "is stopping: ask another"));
    }
    let any = |status| checks.iter().any(|check| check.status == status);
    let (code, status) = if any("failing") {
        (StatusCode::SERVICE_UNAVAILABLE, "unready")
    } else if any("degraded") {
        (StatusCode::OK, "degraded")
    } else {
        (StatusCode::OK, "ready")
    };
    Ok((code, Json(Readiness { status, checks })))
}

/// Database, migrations and workers. What went wrong is for the log: it may name hosts and users.
async fn check_database(state: &AppState) -> Vec<Check> {
    match tokio::time::timeout(PATIENCE, ask_database(state)).await {
        Ok(Ok(checks)) => checks,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the database is not ready: {error}");
            vec![Check::new("database", "failing", "cannot be reached or has no schema")]
        }
        Err(_) => vec![Check::new("database", "failing", "does not answer")],
    }
}

async fn ask_database(state: &AppState) -> Result<Vec<Check>, db::DbError> {
    let mut conn = state.env.pool.get().await?;
    let pending = db::schema_state(&mut conn).await?.pending;
    let migrations = match pending.len() {
        0 => Check::new("migrations", "ok", "all applied"),
        count => Check::new("migrations", "failing", format!("{count} not applied: run `millrace migrate`")),
    };
    let alive = workers::count_live(&mut conn).await?;
    let read_only = sql::<Bool>("current_setting('transaction_read_only')::boolean");
    let database = if diesel::select(read_only).get_result(&mut conn).await? {
        Check::new("database", "failing", "can only be read")
    } else {
        Check::new("database", "ok", "answers")
    };
    Ok(vec![
        database,
        migrations,
        // Information: uploads are accepted without a worker, and wait.
        Check::new("workers", "ok", format!("{alive} alive")),
    ])
}

async fn check_storage(state: &AppState) -> Check {
    match tokio::time::timeout(PATIENCE, state.env.storage.check()).await {
        Ok(Ok(())) => Check::new("storage", "ok", "can be written"),
        Ok(Err(error)) => {
            let location = state.env.storage.location();
            tracing::warn!(%error, location, "the file storage is not ready: {error}");
            let full = shared::storage::is_full(&error).is_some();
            Check::new("storage", "failing", if full { "is full" } else { "cannot be written" })
        }
        Err(_) => Check::new("storage", "failing", "does not answer"),
    }
}

async fn check_redis(state: &AppState) -> Check {
    match state.env.doorbells.answer().await {
        Some(true) => Check::new("redis", "ok", "answers"),
        Some(false) => Check::new("redis", "degraded", "away: runs start by polling, a second later"),
        None => Check::new("redis", "ok", "not configured: runs start by polling"),
    }
}
