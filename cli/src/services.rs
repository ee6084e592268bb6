//! What a command works with: the servers that the environment names, or those of the instance that
//! runs on the data directory.

use crate::embedded::place;
use anyhow::{Context, bail};
use diesel_async::AsyncPgConnection;
use shared::{
    cache::Cache,
    clock::SystemClock,
    config::{
        ConfigError, DatabaseConfig, EtlConfig, FilesConfig, NotificationsConfig, RedisConfig,
        RetentionConfig, StorageConfig, WorkerConfig,
    },
    db::{self, DbPool},
    notifications::NotificationDesk,
    runs::{Doorbells, Environment},
    settings::Settings,
    storage::Storage,
    trades::TradeDesk,
    transactions::live::LiveDesk,
};
use std::sync::Arc;

/// The record, the doorbells, the files.
#[derive(Debug, Clone)]
pub struct Services {
    /// The record.
    pub database: DatabaseConfig,
    /// Doorbells; without it workers poll.
    pub redis: Option<RedisConfig>,
    /// Files.
    pub storage: StorageConfig,
    /// Whether the database is a private one of this machine.
    pub embedded: bool,
}

impl Services {
    /// From `DATABASE_URL` and `REDIS_URL`, or the instance that runs on the data directory.
    pub fn find() -> anyhow::Result<Self> {
        let storage = StorageConfig::from_env()?;
        if let Some(database) = DatabaseConfig::from_env()? {
            return Ok(Self { database, redis: RedisConfig::from_env()?, storage, embedded: false });
        }
        let Some(instance) = place::running_instance(&storage.data_dir) else {
            bail!(
                "there is no database to work with: start `millrace up` first (none runs on {}), or set \
                 DATABASE_URL",
                storage.data_dir.display()
            );
        };
        let Some(url) = instance.database_url else {
            bail!("the instance on {} is still starting; try again in a moment", storage.data_dir.display());
        };
        let redis = match RedisConfig::from_env()? {
            Some(redis) => Some(redis),
            None => instance.redis_url.map(RedisConfig::at).transpose()?,
        };
        Ok(Self { database: DatabaseConfig::at(url)?, redis, storage, embedded: true })
    }

    /// The stored files; an error if they cannot be reached.
    pub async fn files(&self) -> anyhow::Result<Storage> {
        Ok(Storage::open(&self.storage).await?)
    }

    /// How messages leave.
    pub fn notifications(&self) -> Result<NotificationsConfig, ConfigError> {
        NotificationsConfig::from_env(self.embedded)
    }

    /// A pool of connections under this name.
    pub fn pool(&self, application_name: &str) -> anyhow::Result<DbPool> {
        Ok(db::pool(&self.database, application_name)?)
    }

    /// What handlers work with. Needs a migrated database.
    pub async fn environment(&self, application_name: &str) -> anyhow::Result<Arc<Environment>> {
        let pool = self.pool(application_name)?;
        let settings = {
            let mut conn = pool.get().await.context("the database does not answer; see DATABASE_URL")?;
            let conn: &mut AsyncPgConnection = &mut conn;
            Settings::load(conn).await?
        };
        Ok(Arc::new(Environment {
            pool,
            load_connections: db::LoadConnections::new(db::named_url(&self.database.url, application_name)),
            storage: self.files().await?,
            clock: Arc::new(SystemClock),
            settings,
            doorbells: Doorbells::new(self.redis.clone()),
            chunk_records: WorkerConfig::from_env()?.chunk_records,
            kinds: shared::runs::registry::KINDS,
            retention: RetentionConfig::from_env()?,
            files: FilesConfig::from_env()?,
            etl: EtlConfig::from_env(&self.storage.data_dir),
            cache: Cache::new(self.redis.clone()),
            trades: TradeDesk::default(),
            live: LiveDesk::default(),
            notifications: NotificationDesk::open(&self.notifications()?)?,
        }))
    }
}
