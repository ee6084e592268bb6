//! The runs of a chaos: enqueued all the time, also while the database is away.

use super::Chaos;
use crate::kinds::{
    Noop,
    effects::{Alone, Collect, Copying, Dozing, Flaky, Light, Scatter, Slow},
};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use shared::{
    ids::RunId,
    runs::{
        EnqueueOptions, Job, Queue, RunError, enqueue, enqueue_flow, queries, registry::Registered, service,
    },
};
use std::sync::Arc;

/// What the clients of a chaos were told.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    /// Runs whose commit was acknowledged.
    pub acknowledged: Vec<RunId>,
    /// Runs whose commit was asked for and not answered: accepted if they are there.
    pub unanswered: Vec<RunId>,
    /// Runs that somebody wanted to stop.
    pub cancelled: Vec<RunId>,
}

/// Enqueues the planned number of runs, evenly over the window; goes on after it until all are
/// accepted.
pub(super) async fn enqueue_all(chaos: Arc<Chaos>) -> Accepted {
    let mut rng = StdRng::seed_from_u64(chaos.plan.seed);
    let mut accepted = Accepted::default();
    let between = chaos.plan.window.mul_f64(0.95) / u32::try_from(chaos.plan.runs).unwrap_or(u32::MAX);
    let mut ticks = tokio::time::interval(between);
    // What was held up by an outage is made up for: the load comes in bursts, as from clients that retry.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    while accepted.acknowledged.len() < chaos.plan.runs {
        ticks.tick().await;
        enqueue_one(&chaos, &mut rng, &mut accepted).await;
        if rng.random_bool(0.01) {
            cancel_one(&chaos, &mut rng, &mut accepted).await;
        }
    }
    accepted
}

async fn enqueue_one(chaos: &Chaos, rng: &mut StdRng, accepted: &mut Accepted) {
    match rng.random_range(0..100) {
        0..40 => one(chaos, &Light {}, accepted).await,
        40..55 => one(chaos, &Noop {}, accepted).await,
        55..70 => {
            let job = Copying {
                steps: rng.random_range(1..4),
                rows: rng.random_range(2..40),
                ms: rng.random_range(50..250),
            };
            one(chaos, &job, accepted).await;
        }
        70..77 => one(chaos, &Slow { ms: rng.random_range(50..1000) }, accepted).await,
        77..84 => one(chaos, &Flaky { failures: rng.random_range(1..3) }, accepted).await,
        84..91 => {
            let job = Dozing { snoozes: rng.random_range(1..3), ms: rng.random_range(50..500) };
            one(chaos, &job, accepted).await;
        }
        91..96 => {
            let key = rng.random_range(0..3).to_string();
            one(chaos, &Alone { key, ms: rng.random_range(10..300) }, accepted).await;
        }
        _ => flow(chaos, rng.random_range(1..12), accepted).await,
    }
}

async fn one<J: Registered>(chaos: &Chaos, job: &J, accepted: &mut Accepted) {
    // No connection, nothing asked for.
    let Ok(mut pooled) = chaos.fleet.pool.get().await else { return };
    let conn: &mut AsyncPgConnection = &mut pooled;
    let mut asked = None;
    let committed = conn
        .transaction(async |conn| {
            let run = enqueue(conn, job, &EnqueueOptions::by("chaos")).await?;
            // A run that stood for it already was accepted, and perhaps ended, before.
            asked = run.created.then_some(run.id);
            Ok::<_, RunError>(())
        })
        .await;
    if let Some(id) = asked {
        settle(chaos, J::QUEUE, id, committed.is_ok(), accepted);
    }
}

/// A root that waits for a first step, which adds children.
async fn flow(chaos: &Chaos, children: usize, accepted: &mut Accepted) {
    let Ok(mut pooled) = chaos.fleet.pool.get().await else { return };
    let conn: &mut AsyncPgConnection = &mut pooled;
    let id = RunId::generate();
    let committed = conn
        .transaction(async |conn| {
            enqueue_flow(conn, id, &Collect {}, &Scatter { children }, &EnqueueOptions::by("chaos")).await
        })
        .await;
    settle(chaos, Scatter::QUEUE, id, committed.is_ok(), accepted);
}

fn settle(chaos: &Chaos, queue: Queue, id: RunId, committed: bool, accepted: &mut Accepted) {
    if committed {
        accepted.acknowledged.push(id);
        chaos.fleet.doorbells.ring(queue, 1);
    } else {
        accepted.unanswered.push(id);
    }
}

/// Cancels one of the latest runs, running or not.
async fn cancel_one(chaos: &Chaos, rng: &mut StdRng, accepted: &mut Accepted) {
    let latest = accepted.acknowledged.len().saturating_sub(20)..accepted.acknowledged.len();
    if latest.is_empty() {
        return;
    }
    let id = accepted.acknowledged[rng.random_range(latest)];
    let Ok(mut pooled) = chaos.fleet.pool.get().await else { return };
    let conn: &mut AsyncPgConnection = &mut pooled;
    if !matches!(queries::find_run(conn, id).await, Ok(Some(run)) if run.finished_at.is_none()) {
        return;
    }
    // Also if it fails: whether it was done is then not known.
    accepted.cancelled.push(id);
    if let Err(error) = conn.transaction(async |conn| service::cancel_run(conn, id).await).await {
        tracing::debug!(%error, "not cancelled");
    }
}
