//! The steps of one attempt: register it, run the handler beside everything that may end it, close
//! the run. The handler runs in a task of its own, so a panic ends the attempt and nothing else.

use crate::{
    life::{InFlight, Life},
    outcome::Outcome,
    panics,
};
use shared::runs::{Finished, JobError, RunContext, queries, queries::ClaimedRun, registry::Kind};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// How long a handler may go on after it was asked to stop.
const CANCEL_DEADLINE: Duration = Duration::from_secs(10);
/// Before a closing that failed is tried again.
const CLOSE_RETRY: Duration = Duration::from_millis(500);

type Handler = JoinHandle<Result<Finished, JobError>>;

/// Executes one claimed run and closes it.
pub(crate) async fn execute(life: &Arc<Life>, run: ClaimedRun) {
    let span = tracing::info_span!(
        "run", run_id = %run.id, attempt = run.attempt, kind = %run.kind, flow_id = %run.flow_id
    );
    let in_flight = InFlight {
        run_id: run.id,
        cancel: CancellationToken::new(),
        lost: CancellationToken::new(),
        claimed: Instant::now(),
    };
    life.in_flight().insert(run.claim_token, in_flight.clone());
    attempt(life, &run, &in_flight).instrument(span).await;
    life.in_flight().remove(&run.claim_token);
}

async fn attempt(life: &Arc<Life>, run: &ClaimedRun, in_flight: &InFlight) {
    let Some(kind) = life.kind(&run.kind) else { return };
    tracing::debug!("{} begins, attempt {} of {}", run.kind, run.attempt, run.max_attempts);
    let context = RunContext {
        run_id: run.id,
        flow_id: run.flow_id,
        parent_id: run.parent_id,
        token: run.claim_token,
        attempt: run.attempt,
        cancel: CancellationToken::new(),
        env: life.env.clone(),
    };
    let cancel = context.cancel.clone();
    let handler = tokio::spawn((kind.handler)(run.args.clone(), context).in_current_span());
    let outcome = supervise(life, kind, in_flight, &cancel, handler).await;
    close(life, run, kind, in_flight, outcome).await;
}

/// Waits for the handler, or for what ends it: its time, a cancellation, a shutdown, the loss of the
/// claim.
async fn supervise(
    life: &Life,
    kind: &Kind,
    in_flight: &InFlight,
    cancel: &CancellationToken,
    mut handler: Handler,
) -> Outcome {
    let task = handler.id();
    let ended = tokio::select! {
        biased;
        ended = &mut handler => return Outcome::of(ended, panics::backtrace_of(task)),
        () = in_flight.lost.cancelled() => Outcome::Lost,
        () = in_flight.cancel.cancelled() => Outcome::Cancelled,
        () = life.deadline.cancelled() => Outcome::Interrupted,
        () = tokio::time::sleep(kind.timeout) => Outcome::TimedOut(kind.timeout),
    };
    cancel.cancel();
    let patience = match ended {
        Outcome::Cancelled | Outcome::TimedOut(_) => CANCEL_DEADLINE,
        _ => Duration::ZERO,
    };
    match tokio::time::timeout(patience, &mut handler).await {
        // It may have finished, and closed the run, before it noticed.
        Ok(Ok(Ok(finished))) => Outcome::Finished(finished),
        Ok(_) => ended,
        Err(_) => {
            if patience > Duration::ZERO {
                tracing::warn!("the handler did not stop within {patience:?}; it is dropped");
            }
            handler.abort();
            // Dropping a connection in mid-transaction rolls it back.
            if handler.await.is_ok_and(|result| matches!(result, Ok(Finished::Closed(_)))) {
                return Outcome::Done;
            }
            ended
        }
    }
}

/// Closes the run, unless its handler did. Tried until it succeeds or the claim is lost: a run that
/// its living worker forgets would never be rescued.
async fn close(life: &Life, run: &ClaimedRun, kind: &Kind, in_flight: &InFlight, outcome: Outcome) {
    outcome.log(run);
    let Some(closing) = outcome.closing(run, kind, rand::random()) else { return };
    loop {
        let closed = async {
            let mut conn = life.env.pool.get().await?;
            anyhow::Ok(queries::close_runs(&mut conn, &serde_json::json!([closing])).await?)
        };
        match closed.await {
            Ok(closed) if closed.is_empty() => {
                return tracing::warn!(
                    "the run had been closed or taken over; this attempt's end does not count"
                );
            }
            Ok(_) => return,
            Err(error) => tracing::warn!("the run cannot be closed yet: {error:#}"),
        }
        tokio::select! {
            () = in_flight.lost.cancelled() => return,
            () = tokio::time::sleep(CLOSE_RETRY) => {}
        }
    }
}
