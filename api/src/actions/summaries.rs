//! Refreshing, rebuilding and verifying the summaries, and verifying the ledger, from the API and from the pages alike.

use super::repeat;
use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde::Serialize;
use shared::{
    audit,
    ids::RunId,
    ledger::VerifyLedger,
    runs::{EnqueueOptions, Enqueued, Run, RunError, enqueue, queries},
    summaries::jobs::{RebuildSummaries, VerifySummaries, ask_for_refresh},
};

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Chore {
    /// A refresh of the materialized view.
    Refresh,
    /// A rebuild of the totals.
    Rebuild {
        /// Whether all are written, or those that are wrong.
        truncate: bool,
    },
    /// A comparison of the totals with the rows.
    Verify,
    /// A comparison of all accounts with the ledger.
    VerifyLedger,
}

impl Chore {
    /// What the audit log calls it.
    fn action(self) -> &'static str {
        match self {
            Self::Refresh => "summary.refresh",
            Self::Rebuild { .. } => "summaries.rebuild",
            Self::Verify => "summaries.verify",
            Self::VerifyLedger => "ledger.verify",
        }
    }

    async fn enqueue(
        self,
        conn: &mut AsyncPgConnection,
        options: &EnqueueOptions,
    ) -> Result<Enqueued, RunError> {
        match self {
            Self::Refresh => ask_for_refresh(conn, options).await,
            Self::Rebuild { truncate } => enqueue(conn, &RebuildSummaries { truncate }, options).await,
            Self::Verify => enqueue(conn, &VerifySummaries {}, options).await,
            Self::VerifyLedger => enqueue(conn, &VerifyLedger {}, options).await,
        }
    }
}

/// Asks for a chore: the run that stands for it, and whether it was made. Another of its kind that has not ended
/// stands for it too, as does the one that the same request made before.
pub async fn ask_for(
    state: &AppState,
    principal: &Principal,
    chore: Chore,
    key: Option<&str>,
) -> ApiResult<(Run, bool)> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let actor = &principal.name;
    let (run, created) = conn
        .transaction::<_, ApiError, _>(async move |conn| {
            if let Some(id) = repeat::claim::<RunId>(conn, actor, key, chore.action(), &chore).await? {
                let run = queries::find_run(conn, id).await?.ok_or_else(|| super::no_run(id))?;
                return Ok((run, false));
            }
            let asked = chore.enqueue(conn, &EnqueueOptions::by(actor)).await?;
            let id = asked.id.to_string();
            let details = serde_json::json!({ "created": asked.created, "asked": chore });
            audit::record(conn, actor, chore.action(), &id, &details).await?;
            repeat::point(conn, actor, key, &id).await?;
            let run = queries::find_run(conn, asked.id).await?.ok_or_else(|| super::no_run(asked.id))?;
            Ok((run, asked.created))
        })
        .await?;
    super::ring(state, &run);
    tracing::info!(run.id = %run.id, actor = %principal.name, created, "{} is asked for", run.kind);
    Ok((run, created))
}
