//! The machine that runs jobs: claims them, executes them, closes them, and looks after those whose
//! worker died. What a job does is its domain's business, in `shared`.

mod claimer;
mod closer;
mod doorbell;
mod executor;
mod handlers;
mod life;
mod liveness;
mod logs;
mod outcome;
mod panics;

pub use logs::{RunLogs, run_logs};

use shared::{
    clock::Clock,
    config::{
        DatabaseConfig, EtlConfig, FilesConfig, NotificationsConfig, RedisConfig, RetentionConfig,
        WorkerConfig,
    },
    runs::registry::Kind,
    storage::Storage,
};
use std::sync::{Arc, atomic::AtomicBool};
use tokio_util::sync::CancellationToken;

/// What a worker works with.
pub struct WorkerSetup {
    /// The record.
    pub database: DatabaseConfig,
    /// Doorbells; without it the worker polls.
    pub redis: Option<RedisConfig>,
    /// Files.
    pub storage: Storage,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Slots, leases, sizes.
    pub config: WorkerConfig,
    /// How long what has ended is kept.
    pub retention: RetentionConfig,
    /// What files may hold, and how long they are kept.
    pub files: FilesConfig,
    /// The files of the recipe.
    pub etl: EtlConfig,
    /// How messages leave.
    pub notifications: NotificationsConfig,
    /// The kinds it runs.
    pub kinds: &'static [Kind],
    /// Lines to be written to the runs' logs, from [`run_logs`].
    pub logs: Option<RunLogs>,
    /// True from when it has registered for the first time.
    pub begun: Arc<AtomicBool>,
}

/// Works until `shutdown` ends, then puts back what does not finish within the grace time. Declared
/// dead by others (it was frozen, or cut off), it stops all it does and begins a new life under a new
/// id.
pub async fn run(mut setup: WorkerSetup, shutdown: CancellationToken) -> anyhow::Result<()> {
    panics::install_hook();
    let logs = setup.logs.take();
    let writer = logs.map(|logs| logs.write(setup.database.clone()));
    let setup = Arc::new(setup);
    while !shutdown.is_cancelled() {
        life::live(&setup, &shutdown).await?;
    }
    if let Some(writer) = writer {
        writer.finish().await;
    }
    Ok(())
}
