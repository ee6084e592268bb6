//! Ticking: apalis-cron wakes the leader each second, and the leader looks for what is due by the database's
//! clock. However a process's own clock stands, a tick fires when its time has come, bears its nominal time,
//! and fires once.

use crate::SchedulerSetup;
use apalis_cron::{CronScheduler, Schedule, Tick, timezone};
use futures::StreamExt;
use shared::{
    clock::{Clock, SystemClock},
    db::DbPool,
    runs::{Doorbells, registry::Kind},
    schedules::{
        ScheduleError,
        firing::{self, Fired},
        queries,
    },
};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Rings for the runs of a tick.
const RINGS: u64 = 1;
/// Between looks for backfills that have ended before their ticks.
const SWEEP_EVERY: u32 = 10;

/// Comes each second.
#[derive(Debug, Clone)]
struct EachSecond;

impl Schedule<timezone::Utc> for EachSecond {
    fn next_tick(&mut self, _: &timezone::Utc) -> Option<Tick<timezone::Utc>> {
        // The ticker goes by this process's clock, so its next second is asked for here, too.
        let now = u64::try_from(SystemClock.now().timestamp()).unwrap_or_default();
        Some(Tick::new(now + 1))
    }
}

/// Looks each second, until `term` ends.
pub async fn tick(pool: &DbPool, setup: &SchedulerSetup, term: CancellationToken) {
    let ticking = async {
        let mut looks = 0u32;
        loop {
            let mut seconds = std::pin::pin!(CronScheduler::new(EachSecond).into_stream());
            // After a second that has passed before it was waited for the ticker repeats its error for ever: start
            // it anew.
            while let Some(Ok(_)) = seconds.next().await {
                if let Err(error) = look(pool, &setup.doorbells, setup.kinds).await {
                    tracing::warn!("cannot look for what is due: {error:#}");
                }
                looks = looks.wrapping_add(1);
                if looks.is_multiple_of(SWEEP_EVERY)
                    && let Err(error) = sweep(pool).await
                {
                    tracing::debug!("cannot look for backfills that have ended: {error:#}");
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = ticking => {}
        () = term.cancelled() => {}
    }
}

async fn sweep(pool: &DbPool) -> anyhow::Result<()> {
    queries::drop_abandoned(&mut *pool.get().await?).await?;
    Ok(())
}

/// Fires what is due, and lets go what has waited; how many runs were made. One schedule that cannot fire does not
/// keep the others from it.
pub async fn look(pool: &DbPool, doorbells: &Doorbells, kinds: &[Kind]) -> anyhow::Result<usize> {
    let mut conn = pool.get().await?;
    let mut runs = 0;
    for id in queries::due(&mut conn).await? {
        runs += told(firing::fire(&mut conn, kinds, id).await, doorbells)?;
    }
    for id in queries::released(&mut conn).await? {
        runs += told(firing::release(&mut conn, kinds, id).await, doorbells)?;
    }
    Ok(runs)
}

fn told(fired: Result<Option<Fired>, ScheduleError>, doorbells: &Doorbells) -> anyhow::Result<usize> {
    match fired {
        Ok(Some(fired)) => {
            if let Some(queue) = fired.queue {
                tracing::info!(
                    schedule = fired.schedule,
                    runs = fired.runs,
                    "schedule {} fired",
                    fired.schedule
                );
                doorbells.ring(queue, RINGS);
            }
            Ok(fired.runs)
        }
        Ok(None) => Ok(0),
        Err(ScheduleError::Database(error)) => Err(error.into()),
        Err(error) => {
            tracing::error!("a schedule cannot fire: {error}");
            Ok(0)
        }
    }
}
