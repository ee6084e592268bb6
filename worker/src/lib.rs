//! The machine that runs jobs: claims them, executes them, closes them, and looks after those whose
//! worker died. What a job does is its domain's business, in `shared`.

use shared::{
    config::{DatabaseConfig, RedisConfig, WorkerConfig},
    runs::registry::Kind,
    storage::Storage,
};
use tokio_util::sync::CancellationToken;

/// What a worker works with.
pub struct WorkerSetup {
    /// The record.
    pub database: DatabaseConfig,
    /// Doorbells; without it the worker polls.
    pub redis: Option<RedisConfig>,
    /// Files.
    pub storage: Storage,
    /// Slots, leases, sizes.
    pub config: WorkerConfig,
    /// The kinds it runs.
    pub kinds: &'static [Kind],
}

/// Works until `shutdown` ends, then puts back what does not finish within the grace time.
pub async fn run(_setup: WorkerSetup, shutdown: CancellationToken) -> anyhow::Result<()> {
    shutdown.cancelled().await;
    Ok(())
}
