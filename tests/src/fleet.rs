//! Workers and schedulers as processes, and the record they work on.

use crate::{eventually, processes::Process};
use shared::{
    config::{DatabaseConfig, RedisConfig},
    db::{self, DbPool},
    ids::RunId,
    runs::{Doorbells, EnqueueOptions, Job, Run, RunState, enqueue, queries, registry::Registered},
};
use std::time::Duration;

/// A place where processes work: a database, a Redis, a directory, and how the processes are set.
pub struct Fleet {
    /// Connections of the test's own.
    pub pool: DbPool,
    /// Rings as the api does.
    pub doorbells: Doorbells,
    environment: Vec<(&'static str, String)>,
    _data: tempfile::TempDir,
}

impl Fleet {
    /// On these servers, with short leases: 300 ms between heartbeats, 1500 ms.
    pub fn new(database_url: &str, redis_url: &str) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let prefix = format!("fleet-{}", uuid::Uuid::new_v4().simple());
        let redis = RedisConfig { url: redis_url.to_owned(), prefix: prefix.clone() };
        let database = DatabaseConfig { url: database_url.to_owned(), pool_size: 20 };
        let mut fleet = Self {
            pool: db::pool(&database, "test").expect("a pool"),
            doorbells: Doorbells::new(Some(redis)),
            environment: vec![
                ("DATABASE_URL", database_url.to_owned()),
                ("REDIS_URL", redis_url.to_owned()),
                ("MILLRACE_REDIS_PREFIX", prefix),
                ("MILLRACE_DATA_DIR", data.path().display().to_string()),
            ],
            _data: data,
        };
        fleet.set_lease(Duration::from_millis(300), Duration::from_millis(1500));
        fleet
    }

    /// Changes how often workers speak and when they are taken for dead.
    pub fn set_lease(&mut self, heartbeat: Duration, lease: Duration) {
        self.set("MILLRACE_HEARTBEAT_MS", &heartbeat.as_millis().to_string());
        self.set("MILLRACE_LEASE_MS", &lease.as_millis().to_string());
    }

    /// Sets a variable for the processes that are started from now on.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.to_owned()));
    }

    /// Starts a worker.
    pub fn worker(&self) -> Process {
        self.worker_with(&[])
    }

    /// Starts a worker that differs from the others.
    pub fn worker_with(&self, differences: &[(&str, &str)]) -> Process {
        let environment = self.environment.iter().map(|(name, value)| (*name, value.as_str()));
        Process::role("worker", &environment.chain(differences.iter().copied()).collect::<Vec<_>>())
    }

    /// Starts a scheduler.
    pub fn scheduler(&self) -> Process {
        self.scheduler_with(&[])
    }

    /// Starts a scheduler that differs from the others.
    pub fn scheduler_with(&self, differences: &[(&str, &str)]) -> Process {
        let environment = self.environment.iter().map(|(name, value)| (*name, value.as_str()));
        Process::role("scheduler", &environment.chain(differences.iter().copied()).collect::<Vec<_>>())
    }

    /// Starts a worker and waits until it is known to the others.
    pub async fn ready_worker(&self) -> Process {
        self.until_alive(self.worker()).await
    }

    /// Waits until a worker is known to the others.
    pub async fn until_alive(&self, worker: Process) -> Process {
        let pid = worker.id().cast_signed();
        eventually("the worker's registration", || async {
            let sql = "SELECT count(*) AS value FROM workers WHERE state = 'alive' AND pid = ";
            (self.number(&format!("{sql}{pid}")).await > 0).then_some(())
        })
        .await;
        worker
    }

    /// Enqueues a job and rings.
    pub async fn enqueue<J: Registered>(&self, job: &J) -> RunId {
        let mut conn = self.pool.get().await.expect("a connection");
        let run = enqueue(&mut conn, job, &EnqueueOptions::by("test")).await.expect("a run");
        self.ring::<J>(1);
        run.id
    }

    /// Enqueues one job often, in one transaction.
    pub async fn enqueue_many<J: Registered>(&self, jobs: &[J]) -> Vec<RunId> {
        use diesel_async::{AsyncConnection, AsyncPgConnection};
        let mut pooled = self.pool.get().await.expect("a connection");
        let conn: &mut AsyncPgConnection = &mut pooled;
        let ids = conn
            .transaction(async |conn| {
                let mut ids = Vec::with_capacity(jobs.len());
                for job in jobs {
                    ids.push(enqueue(conn, job, &EnqueueOptions::by("test")).await?.id);
                }
                Ok::<_, shared::runs::RunError>(ids)
            })
            .await
            .expect("runs");
        self.ring::<J>(jobs.len() as u64);
        ids
    }

    fn ring<J: Job>(&self, runs: u64) {
        self.doorbells.ring(J::QUEUE, runs);
    }

    /// The run.
    pub async fn run(&self, id: RunId) -> Run {
        let mut conn = self.pool.get().await.expect("a connection");
        queries::find_run(&mut conn, id).await.expect("the record").expect("a run")
    }

    /// Waits for a run's state.
    pub async fn until(&self, id: RunId, state: RunState) -> Run {
        eventually(&format!("run {id} to be {state}"), || async {
            let run = self.run(id).await;
            (run.state == state).then_some(run)
        })
        .await
    }

    /// How a run's attempts ended, first to last.
    pub async fn outcomes(&self, id: RunId) -> Vec<String> {
        let mut conn = self.pool.get().await.expect("a connection");
        let attempts = queries::attempts(&mut conn, id).await.expect("attempts");
        attempts.into_iter().map(|attempt| attempt.outcome.unwrap_or_else(|| "open".to_owned())).collect()
    }

    /// Waits until every run has ended.
    pub async fn until_idle(&self) {
        eventually("the end of all runs", || async {
            let busy = self.number("SELECT count(*) AS value FROM runs WHERE finished_at IS NULL").await;
            (busy == 0).then_some(())
        })
        .await;
    }

    /// A number, named `value`, from the record.
    pub async fn number(&self, sql: &str) -> i64 {
        self.try_number(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:#}"))
    }

    /// A number, named `value`, from the record, which may be away.
    pub async fn try_number(&self, sql: &str) -> anyhow::Result<i64> {
        use diesel_async::RunQueryDsl;
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            value: i64,
        }
        let mut conn = self.pool.get().await?;
        let row: Row = diesel::sql_query(sql).get_result(&mut conn).await?;
        Ok(row.value)
    }

    /// Executes a statement.
    pub async fn execute(&self, sql: &str) {
        use diesel_async::SimpleAsyncConnection;
        let mut conn = self.pool.get().await.expect("a connection");
        conn.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}
