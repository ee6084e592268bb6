//! Claiming: a task for each queue takes as many runs as it has free slots, in one statement, and sets
//! each going. Doorbells and the poll only wake it. As long as a claim fills every slot, there may be
//! more, and freed slots wake it too.

use crate::{executor, life::Life};
use shared::{
    metrics,
    notifications::{events, jobs::AnnounceEvents},
    runs::{Job, Queue, queries},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Between polls: what a lost doorbell costs at most.
const POLL: Duration = Duration::from_secs(1);

/// The slots of a queue in this process, and what wakes its claims.
pub(crate) struct Slots {
    pub queue: Queue,
    pub total: usize,
    free: Arc<Semaphore>,
    wake: Notify,
    /// The last claim filled every slot.
    more: AtomicBool,
}

impl Slots {
    pub fn new(queue: Queue, total: usize) -> Self {
        let free = Arc::new(Semaphore::new(total));
        Self { queue, total, free, wake: Notify::new(), more: AtomicBool::new(false) }
    }

    /// There may be something to claim.
    pub fn wake(&self) {
        if self.free.available_permits() == 0 {
            self.more.store(true, Ordering::Release);
        }
        self.wake.notify_one();
    }

    /// A slot was given back. Where there are many, they are refilled by the quarter: one claim for
    /// fifty runs costs little more than one for one.
    fn freed(&self) {
        if self.more.load(Ordering::Acquire) && self.free.available_permits() >= (self.total / 4).max(1) {
            self.wake.notify_one();
        }
    }

    /// Every slot that is free now.
    fn take_free(&self) -> Vec<OwnedSemaphorePermit> {
        std::iter::from_fn(|| self.free.clone().try_acquire_owned().ok()).collect()
    }

    pub fn in_use(&self) -> usize {
        self.total.saturating_sub(self.free.available_permits())
    }
}

/// A slot that a run has taken; wakes the claims of its queue when it is given back.
pub(crate) struct Seat {
    slots: Arc<Slots>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.permit = None;
        self.slots.freed();
    }
}

/// Claims and sets going for as long as the worker takes on work.
pub(crate) async fn claim(life: Arc<Life>, slots: Arc<Slots>) {
    // All kinds: an older version may have put some of them in other queues.
    let kinds: Vec<&str> = life.kinds.iter().map(|kind| kind.name).collect();
    let external: Vec<&str> = life.kinds.iter().filter(|kind| kind.external).map(|kind| kind.name).collect();
    loop {
        tokio::select! {
            () = life.stopping.cancelled() => return,
            () = slots.wake.notified() => {}
        }
        let mut permits = slots.take_free();
        if permits.is_empty() {
            continue;
        }
        let limit = i32::try_from(permits.len()).unwrap_or(i32::MAX);
        let claimed = async {
            let mut conn = life.pool.get().await?;
            anyhow::Ok(
                queries::claim_runs(&mut conn, slots.queue.as_str(), life.id, limit, &kinds, &external)
                    .await?,
            )
        };
        match claimed.await {
            Ok(runs) => {
                metrics::claimed(slots.queue, runs.len());
                slots.more.store(runs.len() == permits.len(), Ordering::Release);
                for run in runs {
                    let seat = Seat { slots: slots.clone(), permit: permits.pop() };
                    life.tasks.spawn(executor::execute(life.clone(), run, seat));
                }
            }
            // A claim whose answer is lost is found by `liveness::watch` and given back.
            Err(error) => tracing::warn!("cannot claim runs: {error:#}"),
        }
    }
}

/// Once a second: lets due runs be claimed, ends what waited too long, has told what is to be, wakes the claims, and rings for
/// other workers when there is more than this one can take.
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

async fn poll_once(life: &Life) -> anyhow::Result<()> {
    let mut conn = life.pool.get().await?;
    queries::release_due(&mut conn).await?;
    queries::expire(&mut conn).await?;
    if life.kind(AnnounceEvents::KIND).is_some() {
        match events::enqueue_due(&mut conn).await {
            Ok(true) => life.doorbells.ring(Queue::Default, 1),
            Ok(false) => {}
            // Nobody waits for it as they do for the other runs.
            Err(error) => tracing::warn!("cannot look for what is to be told: {error}"),
        }
    }
    for slots in &life.slots {
        slots.wake();
        if slots.in_use() == slots.total {
            let waiting = queries::claimable(&mut conn, slots.queue.as_str()).await?.unsigned_abs();
            life.doorbells.ring(slots.queue, waiting);
        }
    }
    Ok(())
}
