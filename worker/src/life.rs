//! One life of a worker: from its registration to an orderly stop or to being declared dead.

use crate::{WorkerSetup, doorbell, liveness, slots};
use shared::{
    config::DatabaseConfig,
    db::{self, LoadConnections},
    ids::{ClaimToken, RunId, WorkerId},
    runs::{Doorbells, Environment, Queue, registry::Kind, workers},
    settings::Settings,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Between attempts to reach the database at the start of a life.
const RECONNECT: Duration = Duration::from_secs(1);

/// What a life's tasks share.
pub(crate) struct Life {
    /// Fresh for each life.
    pub id: WorkerId,
    pub env: Arc<Environment>,
    pub kinds: &'static [Kind],
    pub config: shared::config::WorkerConfig,
    pub slots: HashMap<Queue, Arc<Semaphore>>,
    /// Claimed and not yet closed.
    pub in_flight: Mutex<HashMap<ClaimToken, InFlight>>,
    /// No more runs are to be claimed.
    pub stopping: CancellationToken,
    /// What still runs is to be put back now.
    pub deadline: CancellationToken,
    /// Others declared this worker dead: nothing it does counts any more.
    pub dead: CancellationToken,
    pub tasks: TaskTracker,
}

/// A run that this worker executes.
#[derive(Clone)]
pub(crate) struct InFlight {
    pub run_id: RunId,
    /// Somebody asked the run to stop.
    pub cancel: CancellationToken,
    /// The claim no longer holds.
    pub lost: CancellationToken,
    pub claimed: Instant,
}

impl Life {
    /// The kind of a name; a claim takes only known ones.
    pub fn kind(&self, name: &str) -> Option<&'static Kind> {
        self.kinds.iter().find(|kind| kind.name == name)
    }

    pub fn in_flight(&self) -> std::sync::MutexGuard<'_, HashMap<ClaimToken, InFlight>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots_of(config: &shared::config::WorkerConfig) -> HashMap<Queue, Arc<Semaphore>> {
        let slots = |queue| match queue {
            Queue::Ingest => config.ingest_slots,
            Queue::Default => config.default_slots,
            Queue::Light => config.light_slots,
        };
        Queue::ALL.iter().map(|&queue| (queue, Arc::new(Semaphore::new(slots(queue))))).collect()
    }
}

/// Lives until `shutdown`, or until others declare it dead.
pub(crate) async fn live(setup: &WorkerSetup, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let Some(life) = begin(setup, shutdown).await? else { return Ok(()) };
    tracing::info!(worker = %life.id, "worker {} is ready", life.id);
    let background = [
        tokio::spawn(liveness::beat(life.clone())),
        tokio::spawn(liveness::watch(life.clone())),
        tokio::spawn(liveness::rescue(life.clone())),
        tokio::spawn(slots::poll(life.clone())),
        tokio::spawn(doorbell::listen(life.clone(), setup.redis.clone())),
    ];
    tokio::select! {
        () = shutdown.cancelled() => stop(&life).await,
        () = life.dead.cancelled() => {
            tracing::error!(worker = %life.id, "worker {} was declared dead; it stops and begins anew", life.id);
            life.stopping.cancel();
            life.in_flight().values().for_each(|run| run.lost.cancel());
            life.tasks.close();
            life.tasks.wait().await;
        }
    }
    background.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

/// Registers a new life; `None` if the shutdown came first.
async fn begin(setup: &WorkerSetup, shutdown: &CancellationToken) -> anyhow::Result<Option<Arc<Life>>> {
    let id = WorkerId::generate();
    let slots = setup.config.ingest_slots + setup.config.default_slots;
    // Every slot may want a connection while heartbeat, watch, rescue and poll want theirs.
    let pool_size = setup.database.pool_size.max(slots + 4);
    let database = DatabaseConfig { pool_size, ..setup.database.clone() };
    let pool = db::pool(&database, &id.to_string())?;
    let settings = loop {
        match register(&pool, id, setup).await {
            Ok(settings) => break settings,
            Err(error) => {
                tracing::warn!("the worker cannot start yet: {error:#}");
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(None),
                    () = tokio::time::sleep(RECONNECT) => {}
                }
            }
        }
    };
    let env = Environment {
        pool,
        load_connections: LoadConnections::new(db::named_url(&setup.database.url, &id.to_string())),
        storage: setup.storage.clone(),
        clock: setup.clock.clone(),
        settings,
        doorbells: Doorbells::new(setup.redis.clone()),
        chunk_records: setup.config.chunk_records,
        kinds: setup.kinds,
        retention: setup.retention,
    };
    Ok(Some(Arc::new(Life {
        id,
        env: Arc::new(env),
        kinds: setup.kinds,
        slots: Life::slots_of(&setup.config),
        config: setup.config.clone(),
        in_flight: Mutex::default(),
        stopping: CancellationToken::new(),
        deadline: CancellationToken::new(),
        dead: CancellationToken::new(),
        tasks: TaskTracker::new(),
    })))
}

async fn register(pool: &db::DbPool, id: WorkerId, setup: &WorkerSetup) -> anyhow::Result<Settings> {
    let mut conn = pool.get().await?;
    let settings = Settings::load(&mut conn).await?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let introduction = workers::Introduction {
        id,
        host: &host,
        version: env!("CARGO_PKG_VERSION"),
        slots: serde_json::json!({
            "ingest": setup.config.ingest_slots,
            "default": setup.config.default_slots,
            "light": setup.config.light_slots,
        }),
        kinds: setup.kinds.iter().map(|kind| kind.name).collect(),
        lease: setup.config.lease,
    };
    workers::register(&mut conn, &introduction).await?;
    Ok(settings)
}

/// Claims nothing more, lets runs finish within the grace time, puts the rest back.
async fn stop(life: &Life) {
    let running = life.in_flight().len();
    tracing::info!(running, "worker {} stops; {running} runs may finish", life.id);
    life.stopping.cancel();
    life.tasks.close();
    if tokio::time::timeout(life.config.shutdown_grace, life.tasks.wait()).await.is_err() {
        life.deadline.cancel();
        // Putting back takes one statement each; if even that cannot be had, others rescue the runs.
        if tokio::time::timeout(Duration::from_secs(5), life.tasks.wait()).await.is_err() {
            tracing::warn!("runs could not be put back; other workers will take them over");
            return;
        }
    }
    let stopped = async {
        let mut conn = life.env.pool.get().await?;
        anyhow::Ok(workers::stop(&mut conn, life.id).await?)
    };
    if let Err(error) = stopped.await {
        tracing::warn!("the worker's end could not be recorded: {error:#}");
    }
}
