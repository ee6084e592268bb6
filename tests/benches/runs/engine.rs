//! The engine that is measured: a database of its own, the api in this process, a worker in another.

use super::CONNECTIONS;
use anyhow::{Context, ensure};
use shared::{
    config::{DatabaseConfig, RedisConfig},
    db::{self, DbPool},
    runs::{Doorbells, EnqueueOptions, Job, enqueue},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tests::{
    App, AppOptions, Fleet, eventually,
    kinds::{self, Noop},
    processes::Process,
};

pub struct Engine {
    pub fleet: Fleet,
    pub app: App,
    worker: Option<Process>,
}

/// The Redis of the benchmarks.
pub fn redis() -> anyhow::Result<RedisConfig> {
    let url = std::env::var("REDIS_URL").context("REDIS_URL is not set: use ./run bench")?;
    Ok(RedisConfig { url, prefix: format!("bench-{}", uuid::Uuid::new_v4().simple()) })
}

/// As many connections as enqueuers.
pub fn pool(url: &str) -> anyhow::Result<DbPool> {
    Ok(db::pool(&DatabaseConfig { url: url.to_owned(), pool_size: CONNECTIONS }, "bench")?)
}

impl Engine {
    /// On a fresh database, without a worker.
    pub async fn start() -> anyhow::Result<Self> {
        let app =
            App::start_with(AppOptions { kinds: kinds::all(), worker: false, ..AppOptions::default() }).await;
        let mut fleet = Fleet::new(&app.db.url, &redis()?.url);
        fleet.set_lease(Duration::from_secs(5), Duration::from_secs(20));
        Ok(Self { fleet, app, worker: None })
    }

    /// Starts the worker, as it is set by default.
    pub async fn start_worker(&mut self) {
        self.worker = Some(self.fleet.ready_worker().await);
    }

    /// Seconds that it takes to enqueue so many runs, each in a transaction of its own and rung for.
    pub async fn enqueue(&self, runs: usize) -> anyhow::Result<f64> {
        let pool = pool(&self.app.db.url)?;
        let (doorbells, left) = (self.fleet.doorbells.clone(), Arc::new(AtomicUsize::new(runs)));
        // Connected before the clock starts.
        let connections = futures::future::try_join_all((0..CONNECTIONS).map(|_| pool.get())).await?;
        let started = Instant::now();
        let tasks: Vec<_> = connections
            .into_iter()
            .map(|conn| tokio::spawn(enqueue_while_left(conn, doorbells.clone(), left.clone())))
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok(started.elapsed().as_secs_f64())
    }

    /// Runs per second from the first enqueue to the last end; all must have completed in one attempt.
    pub async fn complete(&self, runs: usize) -> anyhow::Result<f64> {
        self.enqueue(runs).await?;
        self.until_idle().await;
        let db = &self.app.db;
        let seconds: f64 = db
            .one("SELECT extract(epoch FROM max(finished_at) - min(created_at))::float8 FROM runs", &[])
            .await;
        let done: i64 = db
            .one("SELECT count(*) FROM runs JOIN run_attempts a ON a.run_id = id WHERE state = 'completed' AND a.outcome = 'completed' AND runs.attempt = 1", &[])
            .await;
        ensure!(done == runs as i64, "of {runs} runs {done} completed in one attempt");
        Ok(runs as f64 / seconds)
    }

    /// Waits until no run is open, by way of an index that knows only these.
    pub async fn until_idle(&self) {
        eventually("the end of all runs", || async {
            let open = "SELECT count(*) FROM (SELECT 1 FROM runs WHERE state <> 'completed' LIMIT 1) AS open";
            (self.app.db.one::<i64>(open, &[]).await == 0).then_some(())
        })
        .await;
    }
}

async fn enqueue_while_left(
    mut conn: db::DbConnection,
    doorbells: Doorbells,
    left: Arc<AtomicUsize>,
) -> anyhow::Result<()> {
    let by = EnqueueOptions::by("bench");
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        enqueue(&mut conn, &Noop {}, &by).await?;
        doorbells.ring(Noop::QUEUE, 1);
    }
    Ok(())
}
