//! The connection to Redis. It does not mend itself: with each new one comes the id of the server's start, so
//! that what a server brought back from before its death is told from what it was told since.

use crate::{
    config::RedisConfig,
    gather::{BatchError, Gatherer},
    tls,
};
use redis::{AsyncConnectionConfig, RedisError, aio::MultiplexedConnection};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::Mutex as AsyncMutex;

/// Longest wait for an answer: a cache that takes longer is none.
const PATIENCE: Duration = Duration::from_millis(250);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_millis(500);
/// Reads that are asked for together, at most.
const LOOKS: usize = 100;
/// Before a Redis that did not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// A connection, and whose.
#[derive(Clone)]
pub(super) struct Open {
    connection: MultiplexedConnection,
    /// The id of the server's start.
    pub server: Arc<str>,
}

pub(super) struct Link {
    pub prefix: String,
    config: RedisConfig,
    open: Mutex<State>,
    opening: AsyncMutex<()>,
    looks: Gatherer<Keys, Found, ()>,
}

/// What a read asks for: the token of everything, that of its topic, its entry.
pub(super) type Keys = [String; 3];

/// What there was, and who said so.
pub(super) struct Found {
    pub open: Open,
    pub values: [Option<String>; 3],
}

enum State {
    Open(Open),
    /// Not before then.
    Closed(Option<Instant>),
}

impl Link {
    pub fn new(config: RedisConfig) -> Self {
        let prefix = config.prefix.clone();
        Self {
            prefix,
            config,
            open: Mutex::new(State::Closed(None)),
            opening: AsyncMutex::new(()),
            looks: Gatherer::new(LOOKS, LOOKS * 100),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that is open; `Err(true)` if one may be opened now.
    fn opened(&self) -> Result<Open, bool> {
        match &*self.state() {
            State::Open(open) => Ok(open.clone()),
            State::Closed(not_before) => Err(not_before.is_none_or(|time| Instant::now() >= time)),
        }
    }

    /// A connection; none if Redis does not answer, or did not a moment ago.
    pub async fn get(&self) -> Option<Open> {
        match self.opened() {
            Ok(open) => return Some(open),
            Err(false) => return None,
            Err(true) => {}
        }
        let _one_at_a_time = self.opening.lock().await;
        match self.opened() {
            Ok(open) => return Some(open),
            Err(false) => return None,
            Err(true) => {}
        }
        match self.connect().await {
            Ok(open) => {
                *self.state() = State::Open(open.clone());
                Some(open)
            }
            Err(error) => {
                tracing::debug!(%error, "no cache: Redis does not answer");
                self.close();
                None
            }
        }
    }

    /// Looks keys up, together with whoever else does: under load a question to Redis serves many readers. `None` if
    /// that fails.
    pub async fn look(self: &Arc<Self>, keys: Keys) -> Option<Found> {
        let link = self.clone();
        let work = move |looks| {
            let link = link.clone();
            async move { link.look_up(looks).await.ok_or(BatchError::All(())) }
        };
        self.looks.ask(keys, work).await.ok()
    }

    async fn look_up(&self, looks: Vec<Keys>) -> Option<Vec<Found>> {
        let open = self.get().await?;
        let mut ask = redis::cmd("MGET");
        looks.iter().flatten().for_each(|key| {
            ask.arg(key);
        });
        let mut values: Vec<Option<String>> = self.ask(&open, &ask).await?;
        let found = values.as_chunks_mut::<3>().0.iter_mut();
        Some(found.map(|values| Found { open: open.clone(), values: std::mem::take(values) }).collect())
    }

    async fn connect(&self) -> Result<Open, RedisError> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(PATIENCE));
        let client = tls::redis_client(&self.config.url)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&settings).await?;
        let about: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
        let server = about.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap_or_default();
        Ok(Open { connection, server: server.trim().into() })
    }

    /// Asks; `None` if that fails, and then for a while.
    pub async fn ask<T: redis::FromRedisValue>(&self, open: &Open, command: &redis::Cmd) -> Option<T> {
        self.answered(command.query_async(&mut open.connection.clone()).await)
    }

    /// Runs a script; `None` if that fails.
    pub async fn run<T: redis::FromRedisValue>(
        &self,
        open: &Open,
        script: &redis::ScriptInvocation<'_>,
    ) -> Option<T> {
        self.answered(script.invoke_async(&mut open.connection.clone()).await)
    }

    /// Sends several commands; `None` if one of them fails.
    pub async fn send(&self, open: &Open, pipeline: &redis::Pipeline) -> Option<()> {
        self.answered(pipeline.query_async(&mut open.connection.clone()).await)
    }

    fn answered<T>(&self, answer: Result<T, RedisError>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::debug!(%error, "the cache does not answer");
                self.close();
                None
            }
        }
    }

    fn close(&self) {
        *self.state() = State::Closed(Some(Instant::now() + PAUSE));
    }
}
