//! Doorbells: messages through apalis-redis that say "queue Q has work". They carry no run, so
//! losing, doubling or delaying one costs at most the second until the next poll. Few are ever
//! outstanding: the transport jams above 8,000.

use super::job::Queue;
use crate::config::RedisConfig;
use apalis_core::backend::TaskSink;
use apalis_redis::{Config, ConnectionManager, RedisStorage};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tokio::sync::OnceCell;

/// Doorbells that may lie in Redis for a queue.
const MAX_OUTSTANDING: u64 = 32;
/// Longest wait for Redis; ringing is never worth more.
const PATIENCE: Duration = Duration::from_millis(500);

/// The message: none is needed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Doorbell {}

/// The ringing side; cheap to clone. Without Redis it does nothing.
#[derive(Clone)]
pub struct Doorbells(Arc<Inner>);

struct Inner {
    config: Option<RedisConfig>,
    connection: OnceCell<ConnectionManager>,
}

/// A connection to Redis that reconnects by itself and never makes a caller wait for long.
pub async fn connect(config: &RedisConfig) -> Result<ConnectionManager, redis::RedisError> {
    let settings = redis::aio::ConnectionManagerConfig::new()
        .set_number_of_retries(3)
        .set_connection_timeout(Some(Duration::from_secs(2)))
        .set_response_timeout(Some(Duration::from_secs(5)));
    ConnectionManager::new_with_config(redis::Client::open(config.url.as_str())?, settings).await
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

impl Doorbells {
    /// Rings through this Redis, or not at all.
    pub fn new(config: Option<RedisConfig>) -> Self {
        Self(Arc::new(Inner { config, connection: OnceCell::new() }))
    }

    /// Says that `runs` runs of a queue can be claimed. Returns at once; call it after the commit.
    pub fn ring(&self, queue: Queue, runs: u64) {
        let Some(config) = self.0.config.clone() else { return };
        let doorbells = self.clone();
        tokio::spawn(async move {
            match tokio::time::timeout(PATIENCE, doorbells.push(&config, queue, runs)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "doorbell not rung; workers poll"),
                Err(_) => tracing::debug!("doorbell not rung in time; workers poll"),
            }
        });
    }

    /// Whether Redis answers; `None` if there is none. Runs go on without it.
    pub async fn answer(&self) -> Option<bool> {
        let config = self.0.config.as_ref()?;
        let ping = async {
            let mut connection = self.0.connection.get_or_try_init(|| connect(config)).await?.clone();
            redis::cmd("PING").query_async::<String>(&mut connection).await
        };
        Some(matches!(tokio::time::timeout(PATIENCE, ping).await, Ok(Ok(_))))
    }

    async fn push(&self, config: &RedisConfig, queue: Queue, runs: u64) -> anyhow::Result<()> {
        let mut connection = self.0.connection.get_or_try_init(|| connect(config)).await?.clone();
        let waiting: u64 = redis::cmd("ZCARD")
            .arg(format!("{}:scheduled", queue_name(config, queue)))
            .query_async(&mut connection)
            .await?;
        let mut storage = RedisStorage::<Doorbell>::new(connection).with_config(apalis_config(config, queue));
        for _ in waiting..runs.min(MAX_OUTSTANDING) {
            storage.push(Doorbell {}).await.map_err(|error| anyhow::anyhow!("{error:?}"))?;
        }
        Ok(())
    }
}
