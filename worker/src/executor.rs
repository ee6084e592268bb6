//! The steps of one attempt: register it, run the handler beside everything that may end it, close
//! the run. The handler runs in a task of its own, so a panic ends the attempt and nothing else.

use crate::{
    claimer::Seat,
    closer::Closing,
    handlers::Crew,
    life::{InFlight, Life},
    outcome::Outcome,
    panics,
};
use shared::{
    metrics,
    runs::{Finished, JobError, RunContext, RunState, queries::ClaimedRun, registry::Kind},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// How long a handler may go on after it was asked to stop.
const CANCEL_DEADLINE: Duration = Duration::from_secs(10);
/// How long one that has just committed may take to say so.
const RETURN_DEADLINE: Duration = Duration::from_secs(1);
/// How long a handler that is dropped may take to let go of its thread.
const DROP_DEADLINE: Duration = Duration::from_secs(1);

type Handler = JoinHandle<Result<Finished, JobError>>;

/// Executes one claimed run and closes it.
pub(crate) async fn execute(life: Arc<Life>, run: ClaimedRun, seat: Seat) {
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
    attempt(&life, &run, &in_flight).instrument(span).await;
    life.in_flight().remove(&run.claim_token);
    drop(seat);
}

async fn attempt(life: &Arc<Life>, run: &ClaimedRun, in_flight: &InFlight) {
    let Some(kind) = life.kind(&run.kind) else { return };
    tracing::debug!("{} begins, attempt {} of {}", run.kind, run.attempt, run.max_attempts);
    metrics::run_started(kind.name, Duration::from_millis(run.waited_ms.unsigned_abs()));
    let crew = life.handlers.crew();
    let context = RunContext {
        run_id: run.id,
        flow_id: run.flow_id,
        parent_id: run.parent_id,
        token: run.claim_token,
        attempt: run.attempt,
        cancel: CancellationToken::new(),
        env: crew.env.clone(),
    };
    let cancel = context.cancel.clone();
    let handler = crew.spawn((kind.handler)(run.args.clone(), context).in_current_span());
    let outcome = supervise(life, kind, in_flight, &cancel, handler, &crew).await;
    outcome.log(run);
    let ran = in_flight.claimed.elapsed();
    let state = match outcome.closing(run, kind, ran, rand::random()) {
        Some(element) => close(life, in_flight, element).await,
        None => outcome.is_completed().then_some(RunState::Completed),
    };
    metrics::attempt_ended(kind.name, outcome.word(), ran);
    match state {
        Some(RunState::Retryable) => metrics::run_retried(kind.name),
        Some(state) if state.is_terminal() => metrics::run_finished(kind.name, state),
        _ => {}
    }
    if run.parent_id.is_some() {
        // It may have been the last that its parent waited for.
        life.slots.iter().for_each(|slots| slots.wake());
    }
}

/// Waits for the handler, or for what ends it: its time, a cancellation, a shutdown, the loss of the
/// claim.
async fn supervise(
    life: &Life,
    kind: &Kind,
    in_flight: &InFlight,
    cancel: &CancellationToken,
    mut handler: Handler,
    crew: &Arc<Crew>,
) -> Outcome {
    let task = handler.id();
    let ended = tokio::select! {
        biased;
        ended = &mut handler => return Outcome::of(ended, panics::backtrace_of(task)),
        () = in_flight.lost.cancelled() => Outcome::Lost,
        () = in_flight.cancel.cancelled() => Outcome::Cancelled,
        () = life.deadline.cancelled() => Outcome::Interrupted,
        () = tokio::time::sleep(kind.timeout) => Outcome::TimedOut { after: kind.timeout, ignored: None },
    };
    cancel.cancel();
    let patience = match ended {
        Outcome::Cancelled | Outcome::TimedOut { .. } => CANCEL_DEADLINE,
        Outcome::Lost => RETURN_DEADLINE,
        _ => Duration::ZERO,
    };
    match tokio::time::timeout(patience, &mut handler).await {
        // It may have finished, and closed the run, before it noticed.
        Ok(Ok(Ok(finished))) => return Outcome::Finished(finished),
        Ok(_) => return ended,
        Err(_) => handler.abort(),
    }
    // Dropped at its next await. Dropping a connection in mid-transaction rolls it back.
    match tokio::time::timeout(DROP_DEADLINE, handler).await {
        Ok(Ok(Ok(Finished::Closed(_)))) => Outcome::Done,
        Ok(_) => ended.ignored("dropped"),
        Err(_) => {
            // It has not come to an await: it blocks its thread. What it does afterwards is fenced off.
            life.handlers.replace(crew);
            metrics::runaway_handler(kind.name);
            tracing::error!(
                "{} ignores that it is to stop and blocks its thread; it is left behind, others take its place",
                kind.name
            );
            ended.ignored("left behind")
        }
    }
}

/// Hands the attempt's end to the closer and waits until it is on record, or the claim is lost. Where the
/// run stands then; `None` if this attempt's end does not count.
async fn close(life: &Life, in_flight: &InFlight, element: serde_json::Value) -> Option<RunState> {
    let (closed, answer) = oneshot::channel();
    // Refused only when the life has ended; others then rescue the run.
    let _ = life.closings.send(Closing { element, closed });
    tokio::select! {
        answer = answer => {
            let state = answer.ok().flatten();
            if state.is_none() {
                tracing::warn!("the run had been closed or taken over; this attempt's end does not count");
            }
            state
        }
        () = in_flight.lost.cancelled() => None,
    }
}
