//! Deleting all transactions, where the installation allows it. Asking is audited, the run does it.

use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
};
use axum::http::StatusCode;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use shared::{
    audit,
    auth::{CONFIRMATION_LIFE, is_confirmed, issue_confirmation},
    feed,
    runs::{Run, queries},
    transactions::deletion::{self, DeletionError},
};
use std::time::Duration;
use tokio::time::Instant;

/// What is confirmed, and what the audit log calls it.
const ACTION: &str = "transactions.delete";
/// First and longest pause between two looks at a run that somebody waits for.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// 403 where the installation does not allow it.
pub fn check_allowed(state: &AppState) -> ApiResult<()> {
    if state.config.allow_destructive {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "destructive-not-allowed",
        "Not allowed here",
        "Deleting all transactions is for tests, and this installation does not allow it: its data may be somebody's. \
         Where it is nobody's, set MILLRACE_ALLOW_DESTRUCTIVE=true for the api and start it again.",
    ))
}

/// Who confirms: names may be given to others.
fn caller(principal: &Principal) -> String {
    principal.user_id.map_or_else(|| principal.name.clone(), |id| id.to_string())
}

/// The answer to who has not confirmed (428): what would go, what stays, and the token that confirms it; 409
/// with the reason while nothing can be deleted.
pub async fn ask_to_confirm(state: &AppState, principal: &Principal) -> ApiResult<ApiError> {
    let mut conn = state.env.pool.get().await?;
    if let Some(reason) = deletion::refusal(&mut conn).await? {
        return Err(DeletionError::InProgress(reason).into());
    }
    let there = deletion::extent(&mut conn).await?;
    let key = &state.env.settings.signing_key;
    let action = confirmed_action(&mut conn).await?;
    let token = issue_confirmation(key, &action, &caller(principal), state.env.clock.now())?;
    let detail = format!(
        "This deletes {} transactions for good: all of them, but the {} of settled trades. With them go what uploads \
         and live transactions moved on accounts (reversed in the ledger) and every total; the uploads are undone, so \
         that their files can be loaded again. Clients, stocks, trades and holdings stay, and so do the ledger, \
         runs and the audit log. To go ahead, send the request again with confirm= and the token in `confirm`, \
         within {} minutes.",
        there.leaving,
        there.staying,
        CONFIRMATION_LIFE.num_minutes()
    );
    Ok(ApiError::unconfirmed(token, detail))
}

/// What is confirmed: the deletion of what is there since the last one, with which an epoch of the feed begins. A
/// token that was used deletes nothing of what comes after.
async fn confirmed_action(conn: &mut AsyncPgConnection) -> ApiResult<String> {
    let epoch = feed::outbox::extent(conn).await?.epoch();
    Ok(format!("{ACTION} in {epoch}"))
}

/// 422 unless the token confirms it.
pub async fn check_confirmed(state: &AppState, principal: &Principal, token: &str) -> ApiResult<()> {
    let action = confirmed_action(&mut *state.env.pool.get().await?).await?;
    let key = &state.env.settings.signing_key;
    if is_confirmed(key, &action, &caller(principal), token, state.env.clock.now()) {
        return Ok(());
    }
    Err(ApiError::invalid(
        "confirm",
        "This token confirms nothing here: it was used, is of somebody else, or older than five minutes, or damaged. \
         Send the request without `confirm` to get another.",
    ))
}

/// Enqueues the run that deletes all transactions, for a caller of `route`, and says whether it was made: one that
/// has not ended stands for all who ask. 409 with the reason while nothing can be deleted.
pub async fn delete_transactions(
    state: &AppState,
    principal: &Principal,
    route: &str,
) -> ApiResult<(Run, bool)> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let actor = &principal.name;
    let (run, created) = conn
        .transaction::<_, ApiError, _>(async move |conn| {
            let there = deletion::extent(conn).await?;
            let asked = deletion::request_deletion(conn, actor).await?;
            let details = serde_json::json!({
                "created": asked.created, "route": route, "transactions": there.leaving,
            });
            audit::record(conn, actor, ACTION, &asked.id.to_string(), &details).await?;
            let run = queries::find_run(conn, asked.id).await?.ok_or_else(|| super::no_run(asked.id))?;
            Ok((run, asked.created))
        })
        .await?;
    super::ring(state, &run);
    tracing::warn!(run.id = %run.id, %actor, created, "all transactions are to be deleted");
    Ok((run, created))
}

/// The run when it has ended, or as it is after so long.
pub async fn await_end(state: &AppState, mut run: Run, patience: Duration) -> ApiResult<Run> {
    let until = Instant::now() + patience;
    let mut pause = LOOKS.0;
    while !run.state.is_terminal() && Instant::now() < until {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOKS.1);
        let mut conn = state.env.pool.get().await?;
        run = queries::find_run(&mut conn, run.id).await?.ok_or_else(|| super::no_run(run.id))?;
    }
    Ok(run)
}
