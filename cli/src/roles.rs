//! The roles of a process: api, worker, scheduler. Each runs as a task with its own end, so that they
//! can be stopped in order.

use crate::services::Services;
use anyhow::{Context, anyhow};
use shared::{
    config::{
        ApiConfig, EtlConfig, FeedConfig, FilesConfig, MetricsConfig, RetentionConfig, SchedulesConfig,
        WorkerConfig,
    },
    db::DbPool,
};
use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Patience with requests in flight, and with roles that have little to finish.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);

/// Lines of run logs, from the process's one subscriber to its one worker.
pub static RUN_LOGS: Mutex<Option<worker::RunLogs>> = Mutex::new(None);

/// A role that runs.
struct Role {
    name: &'static str,
    stop: CancellationToken,
    patience: Duration,
    task: JoinHandle<anyhow::Result<()>>,
}

/// The roles that run in this process, in the order in which they are to stop.
#[derive(Default)]
pub struct Roles {
    running: Vec<Role>,
    /// Of those that begin later than they start.
    begun: Vec<Arc<AtomicBool>>,
}

impl Roles {
    fn start<F>(&mut self, name: &'static str, patience: Duration, run: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(stop.clone()));
        self.running.push(Role { name, stop, patience, task });
    }

    /// What a role says by that it has begun.
    fn flag(&mut self) -> Arc<AtomicBool> {
        let flag = Arc::<AtomicBool>::default();
        self.begun.push(flag.clone());
        flag
    }

    /// Serves pages and API on `listener`. Returns its connections.
    pub async fn start_api(
        &mut self,
        services: &Services,
        config: ApiConfig,
        listener: TcpListener,
    ) -> anyhow::Result<DbPool> {
        let env = services.environment("millrace-api").await?;
        let (pool, redis) = (env.pool.clone(), services.redis.clone());
        self.start("api", config.drain + api::GRACE + Duration::from_secs(1), |leaving| {
            api::serve(api::AppState::new(env, config, redis, leaving), listener)
        });
        Ok(pool)
    }

    /// Serves the metrics of this process where `MILLRACE_METRICS_LISTEN` says, if it does; with a pool
    /// also how the record stands. Start it last: it stops last.
    pub async fn start_metrics(&mut self, pool: Option<DbPool>) -> anyhow::Result<()> {
        let begun = self.begun.clone();
        let Some(address) = MetricsConfig::from_env()?.listen else { return Ok(()) };
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot serve metrics on {address}; choose another MILLRACE_METRICS_LISTEN=host:port")
        })?;
        let address = listener.local_addr().context("the listener has no address")?;
        tracing::info!("metrics for everybody at http://{address}/metrics");
        self.start("metrics", SHORT_PATIENCE, |shutdown| api::serve_metrics(listener, pool, begun, shutdown));
        Ok(())
    }

    /// Works on runs.
    pub async fn start_worker(&mut self, services: &Services) -> anyhow::Result<()> {
        let config = WorkerConfig::from_env()?;
        let patience = config.shutdown_grace + SHORT_PATIENCE;
        let setup = worker::WorkerSetup {
            database: services.database.clone(),
            redis: services.redis.clone(),
            storage: services.files().await?,
            clock: Arc::new(shared::clock::SystemClock),
            config,
            retention: RetentionConfig::from_env()?,
            files: FilesConfig::from_env()?,
            etl: EtlConfig::from_env(&services.storage.data_dir),
            notifications: services.notifications()?,
            kinds: shared::runs::registry::KINDS,
            logs: RUN_LOGS.lock().unwrap_or_else(PoisonError::into_inner).take(),
            begun: self.flag(),
        };
        self.start("worker", patience, |shutdown| worker::run(setup, shutdown));
        Ok(())
    }

    /// Makes runs of what is due; `embedded` says whether the database is a private one.
    pub fn start_scheduler(&mut self, services: &Services, embedded: bool) -> anyhow::Result<()> {
        let setup = scheduler::SchedulerSetup {
            database: services.database.clone(),
            redis: services.redis.clone(),
            feed: FeedConfig::from_env()?,
            doorbells: shared::runs::Doorbells::new(services.redis.clone()),
            kinds: shared::runs::registry::KINDS,
            nightly: SchedulesConfig::from_env()?.nightly.unwrap_or(embedded),
            begun: self.flag(),
        };
        self.start("scheduler", SHORT_PATIENCE, |shutdown| scheduler::run(setup, shutdown));
        Ok(())
    }

    /// Returns when a role has ended although nobody asked it to.
    pub async fn ended(&mut self) -> anyhow::Error {
        if self.running.is_empty() {
            return std::future::pending().await;
        }
        let (ended, index, _) =
            futures::future::select_all(self.running.iter_mut().map(|role| &mut role.task)).await;
        let role = self.running.remove(index);
        match ended {
            Ok(Ok(())) => anyhow!("the {} stopped by itself", role.name),
            Ok(Err(error)) => error.context(format!("the {} stopped", role.name)),
            Err(panic) => anyhow!("the {} stopped: {panic}", role.name),
        }
    }

    /// Stops one role after the other; one that does not end in time is left behind.
    pub async fn stop(self) {
        for mut role in self.running {
            role.stop.cancel();
            match tokio::time::timeout(role.patience, &mut role.task).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => {
                    tracing::warn!(role = role.name, error = format!("{error:#}"), "ended badly")
                }
                Ok(Err(error)) => tracing::warn!(role = role.name, %error, "ended badly"),
                Err(_) => {
                    tracing::warn!(role = role.name, "did not end in time");
                    role.task.abort();
                }
            }
        }
    }
}

/// Listens on the configured address.
pub async fn listen(config: &ApiConfig) -> anyhow::Result<TcpListener> {
    TcpListener::bind(config.listen).await.with_context(|| {
        format!("cannot listen on {}; choose another address with MILLRACE_LISTEN=host:port", config.listen)
    })
}

/// Listens on the default port or, if others use it, on the next free one.
pub async fn listen_nearby(config: &ApiConfig) -> anyhow::Result<TcpListener> {
    let first = config.listen.port();
    for port in first..first.saturating_add(50) {
        let mut address = config.listen;
        address.set_port(port);
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(_) => break,
        }
    }
    listen(config).await
}
