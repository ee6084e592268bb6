//! Doorbells: messages through apalis-redis that say "queue Q has work". They carry no run, so
//! losing, doubling or delaying one costs at most the second until the next poll. Few are ever
//! outstanding: the transport jams above 8,000.

use super::job::Queue;
use crate::{
    clock::{Clock, SystemClock},
    config::RedisConfig,
    tls,
};
use apalis_core::backend::{TaskSink, Vacuum};
use apalis_redis::{Config, ConnectionManager, RedisStorage};
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Mutex as AsyncMutex;

/// Doorbells that may lie in Redis for a queue.
const MAX_OUTSTANDING: u64 = 32;
/// Longest wait for Redis; ringing is never worth more.
const PATIENCE: Duration = Duration::from_millis(500);

/// Silence after which a worker of apalis is gone for good; a live one speaks every five seconds.
const WORKER_GONE: Duration = Duration::from_secs(3600);

/// Between rings of a queue by one process; what comes meanwhile rings together.
const PAUSE: Duration = Duration::from_millis(2);

/// The message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Doorbell {
    /// When it was rung, in milliseconds since 1970.
    pub rung_at_ms: i64,
}

impl Doorbell {
    /// How long ago it was rung; nothing, if the clocks of two machines say it is yet to come.
    pub fn age(&self) -> Duration {
        let ms = SystemClock.now().timestamp_millis() - self.rung_at_ms;
        Duration::from_millis(u64::try_from(ms).unwrap_or(0))
    }
}

/// The ringing side; cheap to clone. Without Redis it does nothing.
#[derive(Clone)]
pub struct Doorbells(Arc<Inner>);

struct Inner {
    config: Option<RedisConfig>,
    /// None until it is needed, and after a silence: a connection that says nothing is never given up by
    /// the client itself.
    connection: AsyncMutex<Option<ConnectionManager>>,
    /// By queue: the runs to ring for, and whether a task is ringing.
    wanted: Vec<Mutex<(u64, bool)>>,
}

/// A connection to Redis that reconnects by itself and never makes a caller wait for long.
pub async fn connect(config: &RedisConfig) -> Result<ConnectionManager, redis::RedisError> {
    let settings = redis::aio::ConnectionManagerConfig::new()
        .set_number_of_retries(3)
        .set_connection_timeout(Some(Duration::from_secs(2)))
        .set_response_timeout(Some(Duration::from_secs(5)));
    ConnectionManager::new_with_config(tls::redis_client(&config.url)?, settings).await
}

/// The apalis configuration that survives stalls and restarts of Redis: each setting switches off
/// something that kills healthy workers.
pub fn apalis_config(config: &RedisConfig, queue: Queue) -> Config {
    Config::default()
        .queue(queue_name(config, queue))
        .batch_size(1)
        .lock_tasks(false)
        .emit_events(false)
        .heartbeat_interval(Duration::from_secs(5))
        .missed_heartbeats(3)
}

/// The queue's name in Redis.
pub fn queue_name(config: &RedisConfig, queue: Queue) -> String {
    format!("{}:doorbell:{queue}", config.prefix)
}

/// Removes what apalis keeps of messages that were attended to.
pub async fn sweep(
    connection: &mut ConnectionManager,
    config: &RedisConfig,
    queue: Queue,
) -> anyhow::Result<()> {
    let names = apalis_config(config, queue);
    let (done, dead) = (names.done_jobs_set(), names.dead_jobs_set());
    let mut storage = RedisStorage::<Doorbell>::new(connection.clone()).with_config(names);
    storage.vacuum().await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
    redis::cmd("DEL").arg(done).arg(dead).query_async::<()>(connection).await?;
    Ok(())
}

/// Removes what workers of apalis that are gone for good have left; how many they were.
async fn forget_workers(
    connection: &mut ConnectionManager,
    config: &RedisConfig,
    queue: Queue,
) -> anyhow::Result<usize> {
    let names = apalis_config(config, queue);
    let (workers, inflight) = (names.workers_set(), names.inflight_jobs_set());
    let gone = SystemClock.now().timestamp() - WORKER_GONE.as_secs().cast_signed();
    let mut silent = redis::cmd("ZRANGEBYSCORE");
    let silent: Vec<String> = silent.arg(&workers).arg(0).arg(gone).query_async(connection).await?;
    for worker in &silent {
        redis::pipe()
            .zrem(&workers, worker)
            .del(format!("{workers}:metadata:{worker}"))
            .del(format!("{inflight}:{worker}"))
            .query_async::<()>(connection)
            .await?;
    }
    Ok(silent.len())
}

impl Doorbells {
    /// Rings through this Redis, or not at all.
    pub fn new(config: Option<RedisConfig>) -> Self {
        let wanted = Queue::ALL.iter().map(|_| Mutex::default()).collect();
        Self(Arc::new(Inner { config, connection: AsyncMutex::default(), wanted }))
    }

    /// Says that `runs` runs of a queue can be claimed. Returns at once; call it after the commit. Rings
    /// that come while one is on its way are rung as one.
    pub fn ring(&self, queue: Queue, runs: u64) {
        let Some(config) = self.0.config.clone() else { return };
        if runs == 0 {
            return;
        }
        {
            let mut wanted = self.wanted(queue);
            wanted.0 = wanted.0.max(runs);
            if std::mem::replace(&mut wanted.1, true) {
                return;
            }
        }
        let doorbells = self.clone();
        tokio::spawn(async move {
            while let Some(runs) = doorbells.next_ring(queue) {
                match tokio::time::timeout(PATIENCE, doorbells.push(&config, queue, runs)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "doorbell not rung; workers poll"),
                    Err(_) => {
                        tracing::debug!("doorbell not rung in time; workers poll");
                        doorbells.forget_connection().await;
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    async fn connection(&self, config: &RedisConfig) -> Result<ConnectionManager, redis::RedisError> {
        let mut kept = self.0.connection.lock().await;
        match &*kept {
            Some(connection) => Ok(connection.clone()),
            None => Ok(kept.insert(connect(config).await?).clone()),
        }
    }

    async fn forget_connection(&self) {
        self.0.connection.lock().await.take();
    }

    fn wanted(&self, queue: Queue) -> MutexGuard<'_, (u64, bool)> {
        let place = Queue::ALL.iter().position(|&known| known == queue).unwrap_or_default();
        self.0.wanted[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how many runs to ring now; `None` ends the ringing.
    fn next_ring(&self, queue: Queue) -> Option<u64> {
        let mut wanted = self.wanted(queue);
        let runs = std::mem::take(&mut wanted.0);
        wanted.1 = runs > 0;
        wanted.1.then_some(runs)
    }

    /// Whether Redis answers; `None` if there is none. Runs go on without it.
    pub async fn answer(&self) -> Option<bool> {
        let config = self.0.config.as_ref()?;
        let ping = async {
            let mut connection = self.connection(config).await?;
            redis::cmd("PING").query_async::<String>(&mut connection).await
        };
        Some(matches!(tokio::time::timeout(PATIENCE, ping).await, Ok(Ok(_))))
    }

    /// Removes what apalis keeps of messages that were attended to and of workers that are gone, in every queue;
    /// how many workers these were. `None` without Redis.
    pub async fn sweep(&self) -> anyhow::Result<Option<usize>> {
        let Some(config) = &self.0.config else { return Ok(None) };
        let mut connection = self.connection(config).await?;
        let mut workers = 0;
        for &queue in Queue::ALL {
            sweep(&mut connection, config, queue).await?;
            workers += forget_workers(&mut connection, config, queue).await?;
        }
        Ok(Some(workers))
    }

    async fn push(&self, config: &RedisConfig, queue: Queue, runs: u64) -> anyhow::Result<()> {
        let mut connection = self.connection(config).await?;
        let names = apalis_config(config, queue);
        // Looked-at messages move from the first to the second.
        let (new, fetched): (u64, u64) = redis::pipe()
            .cmd("ZCARD")
            .arg(names.scheduled_jobs_set())
            .cmd("LLEN")
            .arg(names.active_jobs_list())
            .query_async(&mut connection)
            .await?;
        let mut storage = RedisStorage::<Doorbell>::new(connection).with_config(names);
        let rung_at_ms = SystemClock.now().timestamp_millis();
        for _ in new + fetched..runs.min(MAX_OUTSTANDING) {
            storage.push(Doorbell { rung_at_ms }).await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        }
        Ok(())
    }
}
