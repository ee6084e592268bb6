//! One life of a worker: from its registration to an orderly stop or to being declared dead.

use crate::{
    WorkerSetup,
    claimer::{self, Slots},
    closer::{self, Closing},
    doorbell,
    handlers::{self, Handlers},
    liveness,
};
use shared::{
    config::{DatabaseConfig, WorkerConfig},
    db::{self, DbPool},
    ids::{ClaimToken, RunId, WorkerId},
    runs::{Doorbells, Queue, registry::Kind, workers},
    settings::Settings,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Between attempts to reach the database at the start of a life.
const RECONNECT: Duration = Duration::from_secs(1);
/// Claims, closing, heartbeat, watch, rescue and poll; handlers have their own connections.
const CONNECTIONS: usize = 8;

/// What a life's tasks share.
pub(crate) struct Life {
    /// Fresh for each life.
    pub id: WorkerId,
    /// The engine's own connections.
    pub pool: DbPool,
    pub doorbells: Doorbells,
    pub handlers: Handlers,
    pub kinds: &'static [Kind],
    pub config: WorkerConfig,
    pub slots: Vec<Arc<Slots>>,
    pub closings: mpsc::UnboundedSender<Closing>,
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
}

/// Slots of each queue that has any and that a kind waits in.
fn slots(setup: &WorkerSetup) -> Vec<(Queue, usize)> {
    let of = |queue| match queue {
        Queue::Ingest => setup.config.ingest_slots,
        Queue::Default => setup.config.default_slots,
        Queue::Control => setup.config.control_slots,
        Queue::Light => setup.config.light_slots,
        Queue::Deliveries => setup.config.delivery_slots,
    };
    let served = |queue| of(queue) > 0 && setup.kinds.iter().any(|kind| kind.queue == queue);
    Queue::ALL.iter().filter(|&&queue| served(queue)).map(|&queue| (queue, of(queue))).collect()
}

/// Lives until `shutdown`, or until others declare it dead.
pub(crate) async fn live(setup: &Arc<WorkerSetup>, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let (sender, closings) = mpsc::unbounded_channel();
    let Some(life) = begin(setup, sender, shutdown).await? else { return Ok(()) };
    setup.begun.store(true, Ordering::Release);
    tracing::info!(worker = %life.id, "worker {} is ready", life.id);
    let mut background = vec![
        tokio::spawn(liveness::beat(life.clone())),
        tokio::spawn(liveness::watch(life.clone())),
        tokio::spawn(liveness::rescue(life.clone())),
        tokio::spawn(liveness::look_after_schedules(life.clone())),
        tokio::spawn(closer::close(life.clone(), closings)),
        tokio::spawn(claimer::poll(life.clone())),
        tokio::spawn(doorbell::listen(life.clone(), setup.redis.clone())),
    ];
    let claims = life.slots.iter().map(|slots| life.tasks.spawn(claimer::claim(life.clone(), slots.clone())));
    background.extend(claims);
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
async fn begin(
    setup: &Arc<WorkerSetup>,
    closings: mpsc::UnboundedSender<Closing>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<Arc<Life>>> {
    let id = WorkerId::generate();
    let pool =
        db::pool(&DatabaseConfig { pool_size: CONNECTIONS, ..setup.database.clone() }, &id.to_string())?;
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
    let means = setup.clone();
    Ok(Some(Arc::new(Life {
        id,
        pool,
        doorbells: Doorbells::new(setup.redis.clone()),
        handlers: Handlers::new(move || handlers::crew(&means, id, settings.clone()))?,
        kinds: setup.kinds,
        slots: slots(setup).into_iter().map(|(queue, n)| Arc::new(Slots::new(queue, n))).collect(),
        closings,
        config: setup.config.clone(),
        in_flight: Mutex::default(),
        stopping: CancellationToken::new(),
        deadline: CancellationToken::new(),
        dead: CancellationToken::new(),
        tasks: TaskTracker::new(),
    })))
}

async fn register(pool: &DbPool, id: WorkerId, setup: &WorkerSetup) -> anyhow::Result<Settings> {
    let mut conn = pool.get().await?;
    db::require_schema(&mut conn).await?;
    let settings = Settings::load(&mut conn).await?;
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let slots = slots(setup).into_iter().map(|(queue, n)| (queue.to_string(), n.into()));
    let introduction = workers::Introduction {
        id,
        host: &host,
        version: env!("CARGO_PKG_VERSION"),
        slots: serde_json::Value::Object(slots.collect()),
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
    let telling = async {
        let mut conn = life.pool.get().await?;
        anyhow::Ok(workers::begin_to_stop(&mut conn, life.id).await?)
    };
    // Only for people: nothing waits for it if the database does not answer.
    if !matches!(tokio::time::timeout(Duration::from_secs(1), telling).await, Ok(Ok(()))) {
        tracing::debug!("nobody can be told that the worker stops");
    }
    if tokio::time::timeout(life.config.shutdown_grace, life.tasks.wait()).await.is_err() {
        life.deadline.cancel();
        // Putting back takes one statement; if even that cannot be had, others rescue the runs.
        if tokio::time::timeout(Duration::from_secs(5), life.tasks.wait()).await.is_err() {
            tracing::warn!("runs could not be put back; other workers will take them over");
            return;
        }
    }
    let stopped = async {
        let mut conn = life.pool.get().await?;
        anyhow::Ok(workers::stop(&mut conn, life.id).await?)
    };
    if let Err(error) = stopped.await {
        tracing::warn!("the worker's end could not be recorded: {error:#}");
    }
}
