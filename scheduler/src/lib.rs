//! Makes runs of what is due, and publishes the feed (`feed_publisher`). Any number of schedulers may run: one leads
//! (`leader`) and ticks (`tick`).
//! What is due, and what becomes of it, is `shared::schedules`: a tick is a unique row, so that even two
//! leaders fire once.

mod feed_publisher;
mod leader;
mod tick;

pub use tick::look;

use shared::{
    config::{DatabaseConfig, FeedConfig, RedisConfig},
    db::{self, DbPool},
    runs::{Doorbells, registry::Kind},
    schedules::built_in,
    settings::Settings,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// Wait before the leadership is tried for again.
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// What a scheduler works with.
#[derive(Clone)]
pub struct SchedulerSetup {
    /// The record.
    pub database: DatabaseConfig,
    /// Where the feed is published, if anywhere.
    pub redis: Option<RedisConfig>,
    /// How long the feed's events are kept.
    pub feed: FeedConfig,
    /// Rings for the runs that are made.
    pub doorbells: Doorbells,
    /// The kinds there are.
    pub kinds: &'static [Kind],
    /// Whether data is generated each night.
    pub nightly: bool,
    /// True from when it has found the database as it needs it; whether it leads is another matter.
    pub begun: Arc<AtomicBool>,
}

/// Ticks and publishes while it leads, until `shutdown` ends. A database that is away is waited for.
pub async fn run(setup: SchedulerSetup, shutdown: CancellationToken) -> anyhow::Result<()> {
    while let Err(error) = look_at_schema(&setup).await {
        tracing::warn!("the scheduler cannot start yet: {error:#}");
        tokio::select! {
            () = tokio::time::sleep(BETWEEN_TRIES) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
    }
    setup.begun.store(true, Ordering::Release);
    let publishing = feed_publisher::run(setup.clone(), shutdown.clone());
    tokio::try_join!(run_schedules(setup, shutdown), publishing)?;
    Ok(())
}

async fn look_at_schema(setup: &SchedulerSetup) -> Result<(), db::DbError> {
    let config = DatabaseConfig { pool_size: 1, ..setup.database.clone() };
    db::require_schema(&mut *db::pool(&config, &leader::name("scheduler"))?.get().await?).await
}

async fn run_schedules(setup: SchedulerSetup, shutdown: CancellationToken) -> anyhow::Result<()> {
    // One tick at a time needs one connection; the lock has its own.
    let config = DatabaseConfig { pool_size: 2, ..setup.database.clone() };
    let pool = db::pool(&config, &leader::name("scheduler"))?;
    while !shutdown.is_cancelled() {
        match leader::try_lead(&setup.database).await {
            Ok(Some(leadership)) => {
                tracing::info!("this scheduler leads");
                let term = shutdown.child_token();
                let ticking = lead(&pool, &setup, term.clone());
                tokio::select! {
                    () = ticking => {}
                    error = leadership.lost() => {
                        // A tick in progress is dropped, which rolls it back; the next leader fires it.
                        term.cancel();
                        tracing::warn!(%error, "this scheduler no longer leads");
                    }
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "cannot try for the scheduler's leadership"),
        }
        tokio::select! {
            () = tokio::time::sleep(BETWEEN_TRIES) => {}
            () = shutdown.cancelled() => {}
        }
    }
    Ok(())
}

async fn lead(pool: &DbPool, setup: &SchedulerSetup, term: CancellationToken) {
    while let Err(error) = make_built_in(pool, setup).await {
        tracing::warn!("the built-in schedules cannot be made yet: {error:#}");
        tokio::select! {
            () = tokio::time::sleep(BETWEEN_TRIES) => {}
            () = term.cancelled() => return,
        }
    }
    tick::tick(pool, setup, term).await;
}

async fn make_built_in(pool: &DbPool, setup: &SchedulerSetup) -> anyhow::Result<()> {
    let mut conn = pool.get().await?;
    let settings = Settings::load(&mut conn).await?;
    Ok(built_in::ensure(&mut conn, setup.kinds, settings.zone, setup.nightly).await?)
}
