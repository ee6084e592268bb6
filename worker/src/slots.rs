//! Slots: how many runs of a queue the worker executes at once. A slot that is woken claims and
//! executes runs until there are none; doorbells and the poll both only wake slots.

use crate::{executor, life::Life};
use shared::runs::{Queue, queries};
use std::{sync::Arc, time::Duration};

/// Between polls: what a lost doorbell costs at most.
const POLL: Duration = Duration::from_secs(1);

/// Wakes a free slot of a queue, if there is one, and lets it work until nothing is left.
pub(crate) async fn drain(life: Arc<Life>, queue: Queue) {
    let Ok(_slot) = life.slots[&queue].clone().try_acquire_owned() else { return };
    let kinds: Vec<&str> = life.kinds.iter().map(|kind| kind.name).collect();
    let external: Vec<&str> = life.kinds.iter().filter(|kind| kind.external).map(|kind| kind.name).collect();
    while !life.stopping.is_cancelled() {
        let claimed = async {
            let mut conn = life.env.pool.get().await?;
            anyhow::Ok(queries::claim_runs(&mut conn, queue.as_str(), life.id, 1, &kinds, &external).await?)
        };
        match claimed.await {
            // A claim whose answer is lost is found by `liveness::watch` and given back.
            Err(error) => return tracing::warn!("cannot claim runs: {error:#}"),
            Ok(runs) if runs.is_empty() => return,
            Ok(runs) => {
                for run in runs {
                    executor::execute(&life, run).await;
                }
            }
        }
    }
}

/// Once a second: lets due runs be claimed, wakes slots for what waits, rings for other workers.
pub(crate) async fn poll(life: Arc<Life>) {
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !life.stopping.is_cancelled() {
        ticks.tick().await;
        if let Err(error) = poll_once(&life).await {
            tracing::warn!("cannot look for runs: {error:#}");
        }
    }
}

async fn poll_once(life: &Arc<Life>) -> anyhow::Result<()> {
    let mut conn = life.env.pool.get().await?;
    queries::release_due(&mut conn).await?;
    for &queue in Queue::ALL {
        let waiting = queries::claimable(&mut conn, queue.as_str()).await?.unsigned_abs();
        if waiting > 0 {
            let free = life.slots[&queue].available_permits() as u64;
            for _ in 0..free.min(waiting) {
                life.tasks.spawn(drain(life.clone(), queue));
            }
            life.env.doorbells.ring(queue, waiting.saturating_sub(free));
        }
    }
    Ok(())
}
