//! `millrace up`: everything in one process. What the environment does not name (`DATABASE_URL`,
//! `REDIS_URL`) is started privately below the data directory and stopped with it.

use crate::{
    accounts::{self, NewAdmin},
    embedded::{Embedded, Ended, Wanted, postgres::Profile},
    output::{remark, say},
    roles::{self, Roles},
    services::Services,
};
use anyhow::{Context, bail};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use shared::{
    config::{ApiConfig, DatabaseConfig, RedisConfig, SettingsConfig, StorageConfig},
    db,
    schema::workers,
    settings::Settings,
};
use std::{net::SocketAddr, pin::pin, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A running instance, as those see it who work with it.
#[derive(Debug)]
pub struct Running {
    /// Where pages and API are served.
    pub address: SocketAddr,
    /// Its servers.
    pub services: Services,
    /// The administrator, if this start made one.
    pub new_admin: Option<NewAdmin>,
    /// Whether its database is a private one.
    pub embedded: bool,
}

impl Running {
    /// The address for a browser.
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{address}")
    }

    /// Prints where to look.
    pub fn announce(&self) {
        say(format!("Millrace runs at {}", self.url()));
        let data_dir = self.services.storage.data_dir.display();
        match &self.services.storage.url {
            None => say(format!("  files       {data_dir}")),
            Some(url) => say(format!("  files       {url} (and {data_dir})")),
        }
        if self.services.redis.is_none() {
            say("  Redis       none: runs start within a second instead of at once");
        }
        match &self.new_admin {
            Some(admin) => {
                say(format!("  log in as   {}", admin.username));
                say(format!("  password    {}   (shown this once)", admin.password));
            }
            None if self.embedded => {
                say(
                    "  log in      as before; `millrace create-admin --username NAME` makes a new administrator",
                );
            }
            None => {}
        }
    }
}

/// `millrace up`.
pub async fn up(stop: CancellationToken) -> anyhow::Result<()> {
    run(stop.clone(), async |running| {
        running.announce();
        say("Ctrl-C stops it.");
        stop.cancelled().await;
        Ok(())
    })
    .await
}

/// Starts everything, lets `body` work with it, and stops everything in order: when `body` ends, when
/// `stop` does, or when something fails.
pub async fn run<F>(stop: CancellationToken, body: F) -> anyhow::Result<()>
where
    F: AsyncFnOnce(&Running) -> anyhow::Result<()>,
{
    let mut servers = None;
    let mut roles = Roles::default();
    let started = tokio::select! {
        started = start(&mut servers, &mut roles) => started.map(Some),
        () = stop.cancelled() => Ok(None),
    };
    let result = match &started {
        Ok(Some(running)) => {
            let mut body = pin!(body(running));
            loop {
                tokio::select! {
                    result = &mut body => break result,
                    () = stop.cancelled() => break Ok(()),
                    error = roles.ended() => break Err(error),
                    ended = servers_ended(&mut servers) => match ended {
                        Ended::Postgres(said) => break Err(anyhow::anyhow!(said)),
                        Ended::Redis(said) => tokio::select! {
                            () = restart_redis(&mut servers, &said) => {}
                            () = stop.cancelled() => break Ok(()),
                        },
                    },
                }
            }
        }
        _ => Ok(()),
    };
    roles.stop().await;
    if let Some(mut servers) = servers {
        servers.stop().await;
    }
    started?;
    result
}

async fn servers_ended(servers: &mut Option<Embedded>) -> Ended {
    match servers {
        Some(servers) => servers.ended().await,
        None => std::future::pending().await,
    }
}

/// Redis only makes things fast: without it all goes on, so a failure here is a remark.
async fn restart_redis(servers: &mut Option<Embedded>, said: &str) {
    let Some(servers) = servers else { return };
    tracing::warn!("{said}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    match servers.restart_redis().await {
        Ok(()) => tracing::info!("Redis runs again"),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "Redis stays away; runs start within a second")
        }
    }
}

async fn start(servers: &mut Option<Embedded>, roles: &mut Roles) -> anyhow::Result<Running> {
    let api_config = ApiConfig::from_env()?;
    let storage = StorageConfig::from_env()?;
    let database = DatabaseConfig::from_env()?;
    let redis = RedisConfig::from_env()?;
    let embedded = database.is_none();
    let listener = listen(&api_config, embedded).await?;
    let address = listener.local_addr().context("the listener has no address")?;

    let services = start_servers(servers, storage, database, redis).await?;
    let ran = db::migrate(&services.database).await?;
    if !ran.is_empty() {
        tracing::info!(migrations = ran.len(), "the schema is up to date");
    }
    let new_admin = prepare(&services, embedded).await?;

    let pool = roles.start_api(&services, api_config, listener).await?;
    roles.start_worker(&services).await?;
    roles.start_scheduler(&services, embedded)?;
    roles.start_metrics(Some(pool)).await?;
    let running = Running { address, services, new_admin, embedded };
    if let Some(servers) = servers {
        servers.place.publish(&servers.instance(Some(running.url())))?;
    }
    Ok(running)
}

async fn listen(config: &ApiConfig, embedded: bool) -> anyhow::Result<TcpListener> {
    if !embedded || std::env::var_os("MILLRACE_LISTEN").is_some() {
        return roles::listen(config).await;
    }
    let listener = roles::listen_nearby(config).await?;
    let port = listener.local_addr().map_or(0, |address| address.port());
    if port != config.listen.port() {
        remark(format!(
            "Port {} is taken; using {port}. MILLRACE_LISTEN chooses another.",
            config.listen.port()
        ));
    }
    Ok(listener)
}

/// Starts what the environment does not name.
async fn start_servers(
    servers: &mut Option<Embedded>,
    storage: StorageConfig,
    database: Option<DatabaseConfig>,
    redis: Option<RedisConfig>,
) -> anyhow::Result<Services> {
    if let (Some(database), Some(_)) = (&database, &redis) {
        return Ok(Services { database: database.clone(), redis, storage, embedded: false });
    }
    let wanted_database = database.is_none();
    let wanted = Wanted {
        postgres: wanted_database,
        // Where the database is given, Redis is welcome but not asked for.
        redis: match (&redis, &database) {
            (Some(_), _) => Some(false),
            (None, None) => Some(true),
            (None, Some(_)) => None,
        },
        profile: Profile::Durable,
    };
    let servers = servers.insert(Embedded::take(&storage.data_dir)?);
    let storage = StorageConfig { data_dir: servers.place.data_dir.clone(), ..storage };
    servers.start(wanted).await?;
    let redis = match redis {
        Some(redis) => Some(redis),
        None => servers.redis_url().map(RedisConfig::at).transpose()?,
    };
    if redis.is_none() {
        remark("REDIS_URL is not set and redis-server is not installed: workers poll the database instead.");
    }
    let Some(database) = database.or(servers.database_url().map(DatabaseConfig::at).transpose()?) else {
        bail!("the private PostgreSQL has no address");
    };
    Ok(Services { database, redis, storage, embedded: wanted_database })
}

/// Brings the data of an installation to where the roles can start.
async fn prepare(services: &Services, embedded: bool) -> anyhow::Result<Option<NewAdmin>> {
    let pool = services.pool("millrace-up")?;
    let mut conn = pool.get().await.context("the database does not answer")?;
    let conn: &mut AsyncPgConnection = &mut conn;
    Settings::fix(conn, &SettingsConfig::from_env()?).await?;
    if embedded {
        // Nobody else can use this database, so whoever is on record as alive died with the last
        // process: its runs are rescued now instead of after a lease.
        diesel::update(workers::table.filter(workers::state.eq("alive")))
            .set(workers::state.eq("dead"))
            .execute(conn)
            .await?;
    }
    if let Some(admin) = accounts::admin_from_env(conn).await? {
        tracing::info!(username = %admin, "administrator made");
    }
    if embedded { accounts::first_admin(conn).await } else { Ok(None) }
}
