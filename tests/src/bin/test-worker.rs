//! `test-worker worker|scheduler`: a role as `millrace worker` and `millrace scheduler` play it, from the
//! same environment, that also knows the kinds of the tests. It ends with the process that started it.

use anyhow::{Context, bail};
use scheduler::SchedulerSetup;
use shared::{
    clock::SystemClock,
    config::{
        DatabaseConfig, EtlConfig, FeedConfig, FilesConfig, NotificationsConfig, RedisConfig,
        RetentionConfig, StorageConfig, WorkerConfig,
    },
    runs::Doorbells,
    storage::Storage,
    telemetry::{self, LogConfig},
};
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use worker::{RunLogs, WorkerSetup};

fn main() -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let role = std::env::args().nth(1).unwrap_or_default();
    let (layer, lines) = worker::run_logs();
    let config = LogConfig::from_env("warn").map_err(anyhow::Error::msg)?;
    telemetry::init(&config, (role == "worker").then_some(layer)).map_err(anyhow::Error::msg)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(play(&role, lines));
    // A handler that blocks its thread must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    result
}

async fn play(role: &str, lines: RunLogs) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let shutdown = CancellationToken::new();
    let asked = shutdown.clone();
    tokio::spawn(async move {
        terminate.recv().await;
        asked.cancel();
    });
    let database = DatabaseConfig::from_env()?.context("DATABASE_URL is not set")?;
    let redis = RedisConfig::from_env()?;
    match role {
        "worker" => {
            let storage = StorageConfig::from_env()?;
            let setup = WorkerSetup {
                database,
                redis,
                storage: Storage::open(&storage).await?,
                clock: Arc::new(SystemClock),
                config: WorkerConfig::from_env()?,
                retention: RetentionConfig::from_env()?,
                files: FilesConfig::from_env()?,
                etl: EtlConfig::from_env(&storage.data_dir),
                notifications: NotificationsConfig::from_env(true)?,
                kinds: tests::kinds::all(),
                logs: Some(lines),
                begun: Arc::default(),
            };
            worker::run(setup, shutdown).await
        }
        "scheduler" => {
            let setup = SchedulerSetup {
                database,
                doorbells: Doorbells::new(redis.clone()),
                redis,
                feed: FeedConfig::from_env()?,
                kinds: tests::kinds::all(),
                nightly: false,
                begun: Arc::default(),
            };
            scheduler::run(setup, shutdown).await
        }
        _ => bail!("usage: test-worker worker|scheduler"),
    }
}
