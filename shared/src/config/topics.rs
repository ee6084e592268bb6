//! The topics. Each struct's header lists its variables and what goes wrong at either extreme.

use super::{ConfigError, TrustedProxies, parsed, positive, require_scheme, text};
use crate::summaries::Calendar;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// `DATABASE_URL`: `postgres://user:password@host/name`, with `?sslmode=require` for TLS (see `tls`).
/// `MILLRACE_DATABASE_POOL` (10): connections a
/// process keeps; too few makes requests wait, too many exhausts the server's `max_connections`.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// Connection URL.
    pub url: String,
    /// Connections kept by the process.
    pub pool_size: usize,
}

impl DatabaseConfig {
    /// Reads the topic; `None` without `DATABASE_URL`.
    pub fn from_env() -> Result<Option<Self>, ConfigError> {
        text("DATABASE_URL").map(Self::at).transpose()
    }

    /// The topic for a database that is known by other means (the embedded default).
    pub fn at(url: String) -> Result<Self, ConfigError> {
        crate::tls::check()?;
        require_scheme("DATABASE_URL", &url, &["postgres", "postgresql"])?;
        let pool_size = usize::try_from(positive("MILLRACE_DATABASE_POOL", 10)?).unwrap_or(usize::MAX);
        Ok(Self { url, pool_size })
    }
}

/// `REDIS_URL`: `redis://…`, `rediss://…` (TLS) or `redis+unix://…`. `MILLRACE_REDIS_PREFIX` (`millrace`): namespace of the
/// keys, so that two installations can share a server. All that is kept in Redis is disposable.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// Connection URL.
    pub url: String,
    /// Namespace of all keys.
    pub prefix: String,
}

impl RedisConfig {
    /// Reads the topic; `None` without `REDIS_URL`.
    pub fn from_env() -> Result<Option<Self>, ConfigError> {
        text("REDIS_URL").map(Self::at).transpose()
    }

    /// The topic for a Redis that is known by other means (the embedded default).
    pub fn at(url: String) -> Result<Self, ConfigError> {
        require_scheme("REDIS_URL", &url, &["redis", "rediss", "redis+unix", "unix"])?;
        Ok(Self { url, prefix: parsed("MILLRACE_REDIS_PREFIX", "millrace".to_owned())? })
    }
}

/// `MILLRACE_DATA_DIR` (`./.millrace`): the embedded servers' data and, by default, the uploaded files.
/// `MILLRACE_STORAGE` (a directory below it): where uploaded files are kept, as a URL (`s3://bucket/prefix`,
/// `file:///directory`); the credentials of an object store are read from its usual variables
/// (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT` …). Every process must see the
/// same files: on several machines a shared directory or an object store.
#[derive(Debug, Clone)]
pub struct StorageConfig {
    /// Directory of everything that Millrace writes.
    pub data_dir: PathBuf,
    /// Where uploaded files are, if not in a directory below it.
    pub url: Option<String>,
}

impl StorageConfig {
    /// Reads the topic.
    pub fn from_env() -> Result<Self, ConfigError> {
        let url = text("MILLRACE_STORAGE");
        if let Some(url) = &url {
            crate::storage::parse(url).map_err(|reason| ConfigError {
                name: "MILLRACE_STORAGE",
                value: "…".to_owned(),
                reason,
            })?;
        }
        Ok(Self { data_dir: parsed("MILLRACE_DATA_DIR", PathBuf::from(".millrace"))?, url })
    }

    /// Where uploaded files are kept by default.
    pub fn files_dir(&self) -> PathBuf {
        self.data_dir.join("files")
    }
}

/// `MILLRACE_MAX_ROWS` (200,000,000), `MILLRACE_MAX_COLUMNS` (1000) and `MILLRACE_MAX_FIELD_BYTES` (1 MiB): a
/// file beyond the first two is refused, a record beyond the last rejected. `MILLRACE_MAX_UNPACKED_BYTES`
/// (50 GiB) and `MILLRACE_MAX_UNPACK_RATIO` (200): what a compressed file or a workbook may become; large
/// values let a small file fill the disk, small ones refuse honest files that repeat themselves.
/// `MILLRACE_KEEP_FILES_DAYS` (30): how long a file is kept after its upload has ended, 0 for ever; without it
/// an upload keeps its rows and rejects, but nobody can look at the original any more.
#[derive(Debug, Clone, Copy)]
pub struct FilesConfig {
    /// Records of a file.
    pub rows: u64,
    /// Columns of a file.
    pub columns: usize,
    /// Bytes of one field.
    pub field_bytes: usize,
    /// Bytes of a file's content once unpacked.
    pub unpacked_bytes: u64,
    /// Times that a file may grow by unpacking.
    pub unpack_ratio: u64,
    /// Days that a file is kept after its upload has ended; 0 is for ever.
    pub keep_days: u32,
}

impl Default for FilesConfig {
    fn default() -> Self {
        Self {
            rows: 200_000_000,
            columns: 1000,
            field_bytes: 1 << 20,
            unpacked_bytes: 50 << 30,
            unpack_ratio: 200,
            keep_days: 30,
        }
    }
}

impl FilesConfig {
    /// Reads the topic.
    pub fn from_env() -> Result<Self, ConfigError> {
        let usual = Self::default();
        Ok(Self {
            rows: parsed("MILLRACE_MAX_ROWS", usual.rows)?,
            columns: parsed("MILLRACE_MAX_COLUMNS", usual.columns)?,
            field_bytes: parsed("MILLRACE_MAX_FIELD_BYTES", usual.field_bytes)?,
            unpacked_bytes: parsed("MILLRACE_MAX_UNPACKED_BYTES", usual.unpacked_bytes)?,
            unpack_ratio: parsed("MILLRACE_MAX_UNPACK_RATIO", usual.unpack_ratio)?,
            keep_days: parsed("MILLRACE_KEEP_FILES_DAYS", usual.keep_days)?,
        })
    }
}

/// `MILLRACE_ETL_CLIENTS` and `MILLRACE_ETL_TRANSACTIONS`: the files of the recipe `run-etl`, each a path or the
/// URL of an object (`s3://bucket/key`). By default `etl/clients.csv` and `etl/transactions.xlsx` in the data
/// directory.
#[derive(Debug, Clone)]
pub struct EtlConfig {
    /// The clients.
    pub clients: String,
    /// Their transactions.
    pub transactions: String,
}

impl EtlConfig {
    /// Reads the topic.
    pub fn from_env(data_dir: &std::path::Path) -> Self {
        let file = |name: &str| data_dir.join("etl").join(name).display().to_string();
        Self {
            clients: text("MILLRACE_ETL_CLIENTS").unwrap_or_else(|| file("clients.csv")),
            transactions: text("MILLRACE_ETL_TRANSACTIONS").unwrap_or_else(|| file("transactions.xlsx")),
        }
    }
}

/// `MILLRACE_ZONE` (UTC): what a day is. `MILLRACE_CURRENCY` (USD): of rows that name none. Both are
/// fixed by the first migration; later values are ignored with a warning.
#[derive(Debug, Clone)]
pub struct SettingsConfig {
    /// Reporting zone.
    pub zone: chrono_tz::Tz,
    /// Default currency.
    pub currency: String,
}

impl SettingsConfig {
    /// Reads the topic.
    pub fn from_env() -> Result<Self, ConfigError> {
        let currency: String = parsed("MILLRACE_CURRENCY", "USD".to_owned())?;
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            let reason = "a currency is three capital letters, such as USD".to_owned();
            return Err(ConfigError { name: "MILLRACE_CURRENCY", value: currency, reason });
        }
        Ok(Self { zone: parsed("MILLRACE_ZONE", chrono_tz::UTC)?, currency })
    }
}

/// `MILLRACE_LISTEN` (127.0.0.1:8000). `MILLRACE_MAX_UPLOAD_BYTES` (5 GiB): larger files are refused with
/// 413. `MILLRACE_SECURE_COOKIES` (false): set it behind TLS, so that the session cookie never travels
/// in the clear. `MILLRACE_TOKEN_MINUTES` (60): life of an access token; short ones limit what a stolen
/// one is worth, too short ones make clients log in all the time. `MILLRACE_CALENDAR` (unset): gregorian or
/// jalali, the periods of summaries when a request does not say; unset is gregorian, and jalali on service C's
/// route. `MILLRACE_ALLOWED_ORIGINS` (none): origins besides our own whose pages may open a WebSocket, with commas
/// between (`https://desk.example.com`); each can read the feed as whoever gives it a token.
/// `MILLRACE_ALLOW_DESTRUCTIVE` (false): whether an administrator may delete all transactions, for tests; where the
/// data is somebody's, one confirmed call would be the end of it. `MILLRACE_TRUSTED_PROXIES` (none): addresses or networks, with commas
/// between, of proxies whose `X-Forwarded-For` tells where a request came from; without it all who come by a proxy share
/// one address, and a few wrong passwords make all of them wait; with one too many, anybody can claim any address.
/// `MILLRACE_DRAIN_MS` (0): how long the api serves on
/// after SIGTERM while `/readyz` says 503; shorter than a load balancer takes to notice, requests are refused, longer
/// only makes stopping slow.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Largest accepted file.
    pub max_upload_bytes: u64,
    /// Whether cookies carry the Secure attribute.
    pub secure_cookies: bool,
    /// Life of an access token.
    pub token_life: Duration,
    /// Whose weeks and months summaries have when a request does not say.
    pub calendar: Option<Calendar>,
    /// Origins besides our own whose pages may open a WebSocket.
    pub allowed_origins: Vec<String>,
    /// Whether administrators may delete all transactions.
    pub allow_destructive: bool,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: TrustedProxies,
    /// How long it serves on, not ready, after it was asked to stop.
    pub drain: Duration,
    /// The routes of the replaced services.
    pub compat: CompatConfig,
}

impl ApiConfig {
    /// Reads the topic.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            listen: parsed("MILLRACE_LISTEN", SocketAddr::from(([127, 0, 0, 1], 8000)))?,
            max_upload_bytes: parsed("MILLRACE_MAX_UPLOAD_BYTES", 5 << 30)?,
            secure_cookies: parsed("MILLRACE_SECURE_COOKIES", false)?,
            token_life: Duration::from_secs(60 * positive("MILLRACE_TOKEN_MINUTES", 60)?),
            calendar: match text("MILLRACE_CALENDAR") {
                None => None,
                Some(_) => Some(parsed("MILLRACE_CALENDAR", Calendar::Gregorian)?),
            },
            allowed_origins: allowed_origins()?,
            allow_destructive: parsed("MILLRACE_ALLOW_DESTRUCTIVE", false)?,
            trusted_proxies: parsed("MILLRACE_TRUSTED_PROXIES", TrustedProxies::default())?,
            drain: Duration::from_millis(parsed("MILLRACE_DRAIN_MS", 0u64)?),
            compat: CompatConfig::from_env()?,
        })
    }
}

fn allowed_origins() -> Result<Vec<String>, ConfigError> {
    const ORIGINS: &str = "MILLRACE_ALLOWED_ORIGINS";
    let given = text(ORIGINS).unwrap_or_default();
    let origins = given.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    let read =
        origins.map(|origin| require_scheme(ORIGINS, origin, &["http", "https"]).map(|()| origin.to_owned()));
    read.collect()
}

/// The routes that clients of the replaced services use. `MILLRACE_COMPAT_ANONYMOUS` (false): whether they
/// may be called without credentials where the service asked for none, as the role `integration`; whoever
/// reaches the server may then hand in files, record transactions and listen to all of them, register account holders,
/// list stocks and trade for every client that has a username. `MILLRACE_COMPAT_TOKEN_MINUTES` (5) and
/// `MILLRACE_COMPAT_REFRESH_HOURS` (24): lives of the tokens of `/token/`. `MILLRACE_COMPAT_RATE` (600): calls
/// of `/transactions/<client_id>/` that a caller may make in a minute, 0 for any number.
/// `MILLRACE_COMPAT_ROWS` (10000): rows of one answer, where the service knew no limit; the header `Link`
/// leads to the rest.
#[derive(Debug, Clone, Copy)]
pub struct CompatConfig {
    /// Whether calls without credentials act as the role `integration`.
    pub anonymous: bool,
    /// Life of an access token of `/token/`.
    pub access_life: Duration,
    /// Life of a refresh token.
    pub refresh_life: Duration,
    /// Calls of a caller in a minute; 0 is any number.
    pub calls_per_minute: u32,
    /// Rows of one answer.
    pub rows: u32,
}

impl Default for CompatConfig {
    fn default() -> Self {
        Self {
            anonymous: false,
            access_life: Duration::from_secs(5 * 60),
            refresh_life: Duration::from_secs(24 * 3600),
            calls_per_minute: 600,
            rows: 10_000,
        }
    }
}

impl CompatConfig {
    /// Reads the topic.
    pub fn from_env() -> Result<Self, ConfigError> {
        let usual = Self::default();
        let rows = parsed("MILLRACE_COMPAT_ROWS", usual.rows)?;
        if rows == 0 {
            let reason = "an answer has at least one row".to_owned();
            return Err(ConfigError { name: "MILLRACE_COMPAT_ROWS", value: "0".to_owned(), reason });
        }
        Ok(Self {
            anonymous: parsed("MILLRACE_COMPAT_ANONYMOUS", usual.anonymous)?,
            access_life: Duration::from_secs(60 * parsed("MILLRACE_COMPAT_TOKEN_MINUTES", 5u64)?),
            refresh_life: Duration::from_secs(3600 * parsed("MILLRACE_COMPAT_REFRESH_HOURS", 24u64)?),
            calls_per_minute: parsed("MILLRACE_COMPAT_RATE", usual.calls_per_minute)?,
            rows,
        })
    }
}

/// `MILLRACE_METRICS_LISTEN` (off): an address on which this process serves `/metrics`, `/livez` and `/readyz` to
/// anybody who reaches it, without a login; choose one that only the monitoring reaches. Without it only
/// the api has metrics, for who is logged in, and nobody sees what workers and schedulers count.
#[derive(Debug, Clone, Copy)]
pub struct MetricsConfig {
    /// Address to listen on.
    pub listen: Option<SocketAddr>,
}

impl MetricsConfig {
    /// Reads the topic.
    pub fn from_env() -> Result<Self, ConfigError> {
        const LISTEN: &str = "MILLRACE_METRICS_LISTEN";
        let listen = match text(LISTEN) {
            None => None,
            Some(_) => Some(parsed(LISTEN, SocketAddr::from(([127, 0, 0, 1], 0)))?),
        };
        Ok(Self { listen })
    }
}

/// `MILLRACE_INGEST_SLOTS` (cores): chunks loaded at once; each takes up to 50 MiB and a database
/// connection. `MILLRACE_DEFAULT_SLOTS` (4): other runs at once. `MILLRACE_CONTROL_SLOTS` (1): actions of
/// operators on many runs at once. `MILLRACE_LIGHT_SLOTS` (200): runs of a few
/// milliseconds at once; they are claimed and closed many at a time. `MILLRACE_DELIVERY_SLOTS` (128): messages being
/// sent at once; one provider, or endpoint, has 32 of them at most. `MILLRACE_HEARTBEAT_MS` (5000) and
/// `MILLRACE_LEASE_MS` (20000): a worker silent for a lease is taken for dead and its runs go to others;
/// a lease under three heartbeats declares healthy workers dead. `MILLRACE_SHUTDOWN_GRACE_MS` (10000):
/// how long runs may finish after SIGTERM before they are put back. `MILLRACE_CHUNK_RECORDS` (50000):
/// records of a chunk; small chunks cost transactions, large ones memory.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Slots of the queue `ingest`.
    pub ingest_slots: usize,
    /// Slots of the queue `default`.
    pub default_slots: usize,
    /// Slots of the queue `control`.
    pub control_slots: usize,
    /// Slots of the queue `light`.
    pub light_slots: usize,
    /// Slots of the queue `deliveries`.
    pub delivery_slots: usize,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// Silence after which a worker is dead.
    pub lease: Duration,
    /// Time for runs to finish at shutdown.
    pub shutdown_grace: Duration,
    /// Records of a chunk.
    pub chunk_records: u64,
}

impl WorkerConfig {
    /// Reads the topic.
    pub fn from_env() -> Result<Self, ConfigError> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let config = Self {
            ingest_slots: parsed("MILLRACE_INGEST_SLOTS", cores)?,
            default_slots: parsed("MILLRACE_DEFAULT_SLOTS", 4)?,
            control_slots: parsed("MILLRACE_CONTROL_SLOTS", 1)?,
            light_slots: parsed("MILLRACE_LIGHT_SLOTS", 200)?,
            delivery_slots: parsed("MILLRACE_DELIVERY_SLOTS", 128)?,
            heartbeat: Duration::from_millis(parsed("MILLRACE_HEARTBEAT_MS", 5_000)?),
            lease: Duration::from_millis(parsed("MILLRACE_LEASE_MS", 20_000)?),
            shutdown_grace: Duration::from_millis(parsed("MILLRACE_SHUTDOWN_GRACE_MS", 10_000)?),
            chunk_records: parsed("MILLRACE_CHUNK_RECORDS", 50_000)?,
        };
        if config.lease < config.heartbeat * 3 {
            return Err(ConfigError {
                name: "MILLRACE_LEASE_MS",
                value: config.lease.as_millis().to_string(),
                reason: "the lease must be at least three heartbeats (MILLRACE_HEARTBEAT_MS)".to_owned(),
            });
        }
        Ok(config)
    }
}

/// `MILLRACE_KEEP_COMPLETED_DAYS` (7) and `MILLRACE_KEEP_FAILED_DAYS` (30): how long runs that completed (or
/// were cancelled) and runs that failed are kept; 0 keeps them for ever. Short times lose what somebody
/// still wants to look at or retry, long ones cost disk. What an upload did is kept with the upload.
#[derive(Debug, Clone, Copy)]
pub struct RetentionConfig {
    /// For completed and cancelled runs.
    pub completed_days: u32,
    /// For failed and discarded runs.
    pub failed_days: u32,
}

impl RetentionConfig {
    /// Reads the topic.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            completed_days: parsed("MILLRACE_KEEP_COMPLETED_DAYS", 7)?,
            failed_days: parsed("MILLRACE_KEEP_FAILED_DAYS", 30)?,
        })
    }
}

/// `MILLRACE_FEED_MINUTES` (60): how long the feed's events are kept for listeners that come back. A short time makes
/// those who were away longer read everything anew; a long one costs disk, some 300 bytes an event.
#[derive(Debug, Clone, Copy)]
pub struct FeedConfig {
    /// How long events are kept.
    pub kept: Duration,
}

impl FeedConfig {
    /// Reads the topic.
    pub fn from_env() -> Result<Self, ConfigError> {
        const MINUTES: &str = "MILLRACE_FEED_MINUTES";
        let minutes: u64 = parsed(MINUTES, 60)?;
        if !(1..=10_080).contains(&minutes) {
            let reason = "events are kept for 1 to 10,080 minutes (a week)".to_owned();
            return Err(ConfigError { name: MINUTES, value: minutes.to_string(), reason });
        }
        Ok(Self { kept: Duration::from_secs(60 * minutes) })
    }
}

/// Schedules.
///
/// - `MILLRACE_NIGHTLY` (true on the embedded default, else false): whether transactions are generated each
///   night. False leaves the schedule paused until somebody enables it; made-up data among a company's own is
///   hard to tell apart afterwards.
#[derive(Debug, Clone, Copy, Default)]
pub struct SchedulesConfig {
    /// What was asked for, if anything was.
    pub nightly: Option<bool>,
}

impl SchedulesConfig {
    /// Reads the topic.
    pub fn from_env() -> Result<Self, ConfigError> {
        const NIGHTLY: &str = "MILLRACE_NIGHTLY";
        let nightly = text(NIGHTLY).map(|_| parsed(NIGHTLY, false)).transpose()?;
        Ok(Self { nightly })
    }
}
