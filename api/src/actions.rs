//! What an operator does to a run, from the API and from the pages alike: the action and its audit row
//! commit together, then the doorbell rings.

use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use shared::{
    audit,
    ids::RunId,
    runs::{self, Queue, Run, RunError, queries, registry::Kind, service::Cancelled},
};

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

/// Runs an ended run again; of a flow only what failed. 409 if its state refuses.
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
    // A process that dies here costs the second until the next poll.
    if let Ok(queue) = run.queue.parse::<Queue>() {
        state.env.doorbells.ring(queue, RINGS);
    }
    tracing::info!(run.id = %id, actor = %principal.name, "{} of run {id}", action.name());
    Ok(run)
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
                serde_json::json!({ "retried": shown == id })
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
