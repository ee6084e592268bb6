//! What an operator does, from the API and from the pages alike: the action and its audit row commit
//! together, then the doorbell rings.

pub mod bulk;
pub mod deletion;
pub mod engine;
pub mod etl;
pub mod notifications;
pub mod previews;
pub mod repeat;
pub mod schedules;
pub mod stocks;
pub mod summaries;
pub mod synthetic;
pub mod undo;

use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
};
use chrono::{DateTime, Datelike, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde::{Deserialize, Serialize};
use shared::{
    audit,
    ids::RunId,
    runs::{self, EnqueueOptions, Queue, Run, RunError, queries, registry::Kind, service::Cancelled},
};
use utoipa::ToSchema;

/// Rings after a retry: enough to wake every slot of a machine; what is too much costs a look.
const RINGS: u64 = 8;
/// Attempts at an action that lost a deadlock to a worker.
const ATTEMPTS: u32 = 3;

#[derive(Clone, Copy)]
enum Action {
    Retry,
    Cancel,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Retry => "run.retry",
            Self::Cancel => "run.cancel",
        }
    }
}

/// Runs an ended run again; of a flow only what failed. 409 if its state refuses. If an unfinished run
/// holds its unique key, that one is the answer: its id is then another. 409 for the steps of an upload
/// that was undone.
pub async fn retry_run(state: &AppState, principal: &Principal, id: RunId) -> ApiResult<Run> {
    act(state, principal, id, Action::Retry).await
}

/// Cancels a run and its unfinished children; what is running is asked to stop. 409 if its state
/// refuses.
pub async fn cancel_run(state: &AppState, principal: &Principal, id: RunId) -> ApiResult<Run> {
    act(state, principal, id, Action::Cancel).await
}

async fn act(state: &AppState, principal: &Principal, id: RunId, action: Action) -> ApiResult<Run> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let mut attempt = 1;
    let run = loop {
        match in_transaction(conn, &principal.name, id, action, state.env.kinds).await {
            Err(RunError::Database(error)) if attempt < ATTEMPTS && lost_a_deadlock(&error) => attempt += 1,
            other => break other?,
        }
    };
    ring(state, &run);
    tracing::info!(run.id = %id, actor = %principal.name, "{} of run {id}", action.name());
    Ok(run)
}

/// Wakes who serves the run's queue. A process that dies before costs the second until the next poll.
fn ring(state: &AppState, run: &Run) {
    if let Ok(queue) = run.queue.parse::<Queue>() {
        state.env.doorbells.ring(queue, RINGS);
    }
}

async fn in_transaction(
    conn: &mut AsyncPgConnection,
    actor: &str,
    id: RunId,
    action: Action,
    kinds: &[Kind],
) -> Result<Run, RunError> {
    conn.transaction(async move |conn| {
        let mut shown = id;
        let details = match action {
            Action::Retry => {
                // Another run may stand for it: then that one is the answer.
                shown = runs::retry_run(conn, id, kinds).await?;
                serde_json::json!({ "retried": shown == id, "run": shown })
            }
            Action::Cancel => {
                let cancelled = runs::cancel_run(conn, id).await?;
                serde_json::json!({ "at_once": cancelled == Cancelled::Now })
            }
        };
        audit::record(conn, actor, action.name(), &id.to_string(), &details).await?;
        queries::find_run(conn, shown).await?.ok_or(RunError::NotFound(shown))
    })
    .await
}

fn lost_a_deadlock(error: &diesel::result::Error) -> bool {
    matches!(error, diesel::result::Error::DatabaseError(_, info) if info.message().contains("deadlock detected"))
}

/// The answer when a run is not there.
pub fn no_run(id: RunId) -> ApiError {
    RunError::NotFound(id).into()
}

/// How a clone differs from its run.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloneRequest {
    /// Other arguments, as the kind's `args_schema` has them; the same if absent.
    #[schema(value_type = Option<Object>)]
    pub args: Option<serde_json::Value>,
    /// Not before; at once if absent.
    pub run_at: Option<DateTime<Utc>>,
    /// Lower runs first; the run's own if absent.
    pub priority: Option<i16>,
}

/// Enqueues a run like another. The answer says whether it was made: an unfinished run may hold its
/// unique key, or the same request may have made it before.
pub async fn clone_run(
    state: &AppState,
    principal: &Principal,
    id: RunId,
    request: &CloneRequest,
    key: Option<&str>,
) -> ApiResult<(Run, bool)> {
    if request.run_at.is_some_and(|at| !(1970..=9999).contains(&at.year())) {
        return Err(ApiError::invalid("run_at", "The time is in the years 1970 to 9999."));
    }
    let options = EnqueueOptions {
        run_at: request.run_at.filter(|&at| at > state.env.clock.now()),
        priority: request.priority,
        ..EnqueueOptions::by(&principal.name)
    };
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let (actor, kinds) = (&principal.name, state.env.kinds);
    let (run, created) = conn
        .transaction::<_, ApiError, _>(async move |conn| {
            let what = format!("clone {id}");
            if let Some(earlier) = repeat::claim::<RunId>(conn, actor, key, &what, request).await? {
                return Ok((queries::find_run(conn, earlier).await?.ok_or_else(|| no_run(earlier))?, false));
            }
            let clone = runs::clone_run(conn, id, request.args.clone(), kinds, &options).await?;
            let details = serde_json::json!({ "of": id, "created": clone.created, "request": request });
            audit::record(conn, actor, "run.clone", &clone.id.to_string(), &details).await?;
            repeat::point(conn, actor, key, &clone.id.to_string()).await?;
            let run = queries::find_run(conn, clone.id).await?.ok_or_else(|| no_run(clone.id))?;
            Ok((run, clone.created))
        })
        .await?;
    ring(state, &run);
    tracing::info!(run.id = %run.id, actor = %principal.name, "run {id} was cloned as {}", run.id);
    Ok((run, created))
}
