//! Where handlers run: a runtime of their own, with connections of their own. A handler that blocks its
//! thread delays no heartbeat, no claim and no closing; one that cannot be stopped is left behind with
//! its runtime, and those that come after get a new one.

use shared::{
    cache::Cache,
    db::{self, DbError, LoadConnections},
    notifications::NotificationDesk,
    runs::{Doorbells, Environment},
    trades::TradeDesk,
    transactions::live::LiveDesk,
};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::Runtime;

/// Light handlers are many and quick: they share so many connections.
const LIGHT_CONNECTIONS: usize = 8;

/// A runtime and what its handlers work with. Connections belong to the runtime that opened them.
pub(crate) struct Crew {
    runtime: Option<Runtime>,
    pub env: Arc<Environment>,
}

impl Crew {
    pub fn spawn<F>(&self, handler: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.as_ref().expect("it is there until it is dropped").spawn(handler)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waits for nobody: what still blocks a thread goes on until it ends by itself.
            runtime.shutdown_background();
        }
    }
}

/// The crew that new attempts are given to.
pub(crate) struct Handlers {
    recruit: Box<dyn Fn() -> anyhow::Result<Crew> + Send + Sync>,
    current: Mutex<Arc<Crew>>,
}

impl Handlers {
    pub fn new(recruit: impl Fn() -> anyhow::Result<Crew> + Send + Sync + 'static) -> anyhow::Result<Self> {
        let current = Mutex::new(Arc::new(recruit()?));
        Ok(Self { recruit: Box::new(recruit), current })
    }

    pub fn crew(&self) -> Arc<Crew> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One of `stuck`'s threads is lost to a handler: unless that was noticed before, new attempts get a
    /// new crew. The old one goes when the last of its other attempts has ended.
    pub fn replace(&self, stuck: &Arc<Crew>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, stuck) {
            match (self.recruit)() {
                Ok(crew) => *current = Arc::new(crew),
                Err(error) => tracing::error!("no new threads for handlers: {error:#}"),
            }
        }
    }
}

/// A crew with a thread for each heavy slot and one more, so that a few that block leave one for the rest.
pub(crate) fn crew(
    setup: &crate::WorkerSetup,
    worker: shared::ids::WorkerId,
    settings: shared::settings::Settings,
) -> anyhow::Result<Crew> {
    let heavy = setup.config.ingest_slots + setup.config.default_slots + setup.config.control_slots;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(heavy + 1)
        .thread_name("handler")
        .enable_all()
        .build()?;
    let pool_size = setup.database.pool_size.max(heavy + LIGHT_CONNECTIONS);
    let database = shared::config::DatabaseConfig { pool_size, ..setup.database.clone() };
    let name = worker.to_string();
    let pool = db::pool(&database, &name).map_err(|error: DbError| error)?;
    let env = Environment {
        pool,
        load_connections: LoadConnections::new(db::named_url(&setup.database.url, &name)),
        storage: setup.storage.clone(),
        clock: setup.clock.clone(),
        settings,
        doorbells: Doorbells::new(setup.redis.clone()),
        chunk_records: setup.config.chunk_records,
        kinds: setup.kinds,
        retention: setup.retention,
        files: setup.files,
        etl: setup.etl.clone(),
        cache: Cache::new(setup.redis.clone()),
        trades: TradeDesk::default(),
        live: LiveDesk::default(),
        notifications: NotificationDesk::open(&setup.notifications)?,
    };
    Ok(Crew { runtime: Some(runtime), env: Arc::new(env) })
}
