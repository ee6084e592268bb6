//! The embedded default: a private PostgreSQL and Redis as child processes, from the installed
//! binaries, with their files below the data directory. They end with this process, however it ends.

pub mod account;
mod binaries;
mod leftovers;
mod memory;
pub mod place;
pub mod postgres;
pub mod redis;

use anyhow::bail;
use place::{InstanceFile, Place};
use postgres::{Postgres, Profile};
use redis::Redis;
use std::path::Path;

/// Which servers are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// A private PostgreSQL.
    pub postgres: bool,
    /// A private Redis; `None`: if it is installed.
    pub redis: Option<bool>,
    /// For keeping data or for tests.
    pub profile: Profile,
}

/// The servers of an instance, and the lock on its data directory.
#[derive(Debug)]
pub struct Embedded {
    /// Its directories.
    pub place: Place,
    postgres: Option<Postgres>,
    redis: Option<Redis>,
    profile: Profile,
}

impl Embedded {
    /// Takes possession of a data directory; starts nothing yet.
    pub fn take(data_dir: &Path) -> anyhow::Result<Self> {
        Ok(Self { place: Place::take(data_dir)?, postgres: None, redis: None, profile: Profile::Durable })
    }

    /// Starts what is wanted. If the future is dropped, [`Embedded::stop`] ends what has been started.
    /// Call it on the main thread (see [`crate::child`]).
    pub async fn start(&mut self, wanted: Wanted) -> anyhow::Result<()> {
        self.profile = wanted.profile;
        let redis_binary = binaries::find_redis();
        if wanted.redis == Some(true) && redis_binary.is_none() {
            bail!(binaries::INSTALL_REDIS);
        }
        if wanted.postgres {
            Postgres::start(&self.place, wanted.profile, &mut self.postgres).await?;
        }
        if let Some(binary) = redis_binary.filter(|_| wanted.redis != Some(false)) {
            Redis::start(&self.place, &binary, &mut self.redis).await?;
        }
        self.place.publish(&self.instance(None))
    }

    /// Starts Redis again after it ended by itself.
    pub async fn restart_redis(&mut self) -> anyhow::Result<()> {
        let Some(binary) = binaries::find_redis() else { bail!(binaries::INSTALL_REDIS) };
        Redis::start(&self.place, &binary, &mut self.redis).await
    }

    /// What others may know; `address` once it is served.
    pub fn instance(&self, address: Option<String>) -> InstanceFile {
        InstanceFile {
            database_url: self.database_url(),
            redis_url: self.redis_url(),
            address,
            ..Default::default()
        }
    }

    /// The private database, if it was started.
    pub fn database_url(&self) -> Option<String> {
        self.postgres.as_ref().map(|_| postgres::url(&self.place.socket_dir, "millrace"))
    }

    /// The private Redis, if it was started.
    pub fn redis_url(&self) -> Option<String> {
        self.redis.as_ref().map(|_| redis::url(&self.place.socket_dir))
    }

    /// Process ids of PostgreSQL and Redis.
    pub fn pids(&self) -> (Option<u32>, Option<u32>) {
        (self.postgres.as_ref().and_then(Postgres::pid), self.redis.as_ref().and_then(Redis::pid))
    }

    /// Returns when a server has ended by itself.
    pub async fn ended(&mut self) -> Ended {
        let (postgres, redis) = (&mut self.postgres, &mut self.redis);
        tokio::select! {
            said = async { match postgres { Some(server) => server.ended().await, None => std::future::pending().await } } =>
                Ended::Postgres(said),
            said = async { match redis { Some(server) => server.ended().await, None => std::future::pending().await } } =>
                Ended::Redis(said),
        }
    }

    /// Stops Redis, then PostgreSQL.
    pub async fn stop(&mut self) {
        if let Some(mut redis) = self.redis.take() {
            redis.stop().await;
        }
        if let Some(mut postgres) = self.postgres.take() {
            postgres.stop(self.profile).await;
        }
        self.place.leave();
    }
}

/// Which server ended, and what it said.
#[derive(Debug)]
pub enum Ended {
    /// The record is out of reach: stop.
    Postgres(String),
    /// It can be started again.
    Redis(String),
}
