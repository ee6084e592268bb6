//! Pausing and resuming queues and kinds, and limiting queues.

use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
};
use chrono::{DateTime, Datelike, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{
    audit,
    runs::{
        Queue,
        queues::{self, Pause, PauseTarget},
    },
};
use utoipa::ToSchema;

/// Longest reason of a pause.
const MAX_REASON: usize = 500;
/// Largest limit of a queue.
const MAX_RUNNING: i32 = 10_000;
/// Rings after a resumption.
const RINGS: u64 = 32;

/// How something is paused.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// Why, for whoever wonders; at most 500 characters.
    pub reason: Option<String>,
    /// Resumes by itself then; in the future. Until somebody resumes it if absent.
    pub until: Option<DateTime<Utc>>,
}

/// The queue of this name, or 404 with those there are.
pub fn queue(name: &str) -> ApiResult<Queue> {
    name.parse().map_err(|_| unknown("queue", name, Queue::ALL.iter().map(|queue| queue.as_str())))
}

/// The name of a kind that this process knows, or 404 with those there are.
pub fn kind<'a>(state: &AppState, name: &'a str) -> ApiResult<&'a str> {
    let mut names = state.env.kinds.iter().map(|kind| kind.name);
    if names.any(|known| known == name) {
        return Ok(name);
    }
    Err(unknown("kind", name, state.env.kinds.iter().map(|kind| kind.name)))
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> ApiError {
    let known: Vec<&str> = known.collect();
    let name: String = name.chars().take(80).collect();
    ApiError::not_found(format!("There is no {what} {name:?}. The {what}s are: {}.", known.join(", ")))
}

/// Pauses a queue or a kind; what runs goes on. Pausing again replaces reason and time.
pub async fn pause(
    state: &AppState,
    principal: &Principal,
    target: PauseTarget,
    name: &str,
    request: PauseRequest,
) -> ApiResult<()> {
    let now = state.env.clock.now();
    if request.until.is_some_and(|until| until <= now || until.year() > 9999) {
        let detail =
            format!("The time has to be in the future: later than {}.", now.format("%Y-%m-%dT%H:%M:%SZ"));
        return Err(ApiError::invalid("until", detail));
    }
    let reason = request.reason.map(|reason| reason.trim().to_owned()).filter(|reason| !reason.is_empty());
    if reason.as_ref().is_some_and(|reason| reason.chars().count() > MAX_REASON || reason.contains('\0')) {
        let detail = format!("A reason has at most {MAX_REASON} characters, none of them NUL.");
        return Err(ApiError::invalid("reason", detail));
    }
    let pause = Pause {
        target,
        name: name.to_owned(),
        until: request.until,
        reason,
        paused_by: principal.name.clone(),
        paused_at: now,
    };
    let details = json!({ "until": pause.until, "reason": pause.reason });
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    conn.transaction::<_, ApiError, _>(async move |conn| {
        queues::pause(conn, &pause).await?;
        Ok(audit::record(conn, &pause.paused_by, &format!("{target}.pause"), &pause.name, &details).await?)
    })
    .await?;
    tracing::info!(actor = %principal.name, "{target} {name} is paused");
    Ok(())
}

/// Resumes a queue or a kind. What is not paused stays so.
pub async fn resume(
    state: &AppState,
    principal: &Principal,
    target: PauseTarget,
    name: &str,
) -> ApiResult<()> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    conn.transaction::<_, ApiError, _>(async move |conn| {
        let details = json!({ "was_paused": queues::resume(conn, target, name).await? });
        let action = format!("{target}.resume");
        Ok(audit::record(conn, &principal.name, &action, name, &details).await?)
    })
    .await?;
    Queue::ALL.iter().for_each(|&queue| state.env.doorbells.ring(queue, RINGS));
    tracing::info!(actor = %principal.name, "{target} {name} is resumed");
    Ok(())
}

/// Sets, or lifts, how many runs of a queue may run at once on all workers together.
pub async fn limit(
    state: &AppState,
    principal: &Principal,
    queue: Queue,
    max_running: Option<i32>,
) -> ApiResult<()> {
    if max_running.is_some_and(|limit| !(1..=MAX_RUNNING).contains(&limit)) {
        let detail = format!(
            "A limit is a number from 1 to {MAX_RUNNING}; null lifts it. To run none, pause the queue."
        );
        return Err(ApiError::invalid("max_running", detail));
    }
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    conn.transaction::<_, ApiError, _>(async move |conn| {
        queues::set_limit(conn, queue.as_str(), max_running).await?;
        let details = json!({ "max_running": max_running });
        Ok(audit::record(conn, &principal.name, "queue.limit", queue.as_str(), &details).await?)
    })
    .await?;
    state.env.doorbells.ring(queue, RINGS);
    tracing::info!(actor = %principal.name, ?max_running, "queue {queue} is limited");
    Ok(())
}
