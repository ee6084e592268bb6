//! `millrace config check`.

use crate::output::{remark, say};
use clap::Subcommand;
use shared::{
    config::{
        ApiConfig, ConfigError, DatabaseConfig, EtlConfig, FeedConfig, FilesConfig, MetricsConfig,
        NotificationsConfig, RedisConfig, RetentionConfig, SchedulesConfig, SettingsConfig, StorageConfig,
        WorkerConfig, variable,
    },
    notifications::model::Channel,
    summaries::Calendar,
    telemetry::{DEFAULT_FILTER, LogConfig},
};

/// What there is to say about the configuration.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Read every variable and say what holds; fails if a value cannot be used.
    Check,
}

/// Prints the configuration that holds.
pub fn config(args: &Config) -> anyhow::Result<()> {
    let Config::Check = args;
    let Configuration { settings, wrong, unknown } = Configuration::read();
    for (name, value) in settings {
        say(format!("{name:<32} {value}"));
    }
    for name in unknown {
        remark(format!("{name} is set, and nothing reads it: is it misspelt?"));
    }
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

/// What the environment says.
#[derive(Debug, Default)]
pub struct Configuration {
    /// Each variable with what holds; passwords are left out.
    pub settings: Vec<(&'static str, String)>,
    /// What cannot be used, and why; of the variables that are read together, the first.
    pub wrong: Vec<String>,
    /// Variables of our prefix that nothing reads.
    pub unknown: Vec<String>,
}

/// Those that are no setting of a server: of the command line, of `migrate`, of the scripts beside it, and what one of
/// our processes tells another.
const BESIDE: &[&str] = &[
    "MILLRACE_ADMIN_USERNAME",
    "MILLRACE_ADMIN_EMAIL",
    "MILLRACE_ADMIN_PASSWORD",
    "MILLRACE_SERVER",
    "MILLRACE_TOKEN",
    "MILLRACE_PASSWORD",
    "MILLRACE_CA",
    "MILLRACE_POSTGRES_PID",
    "MILLRACE_REDIS_PID",
    "MILLRACE_BIN",
    "MILLRACE_BIND",
    "MILLRACE_IMAGE",
    "MILLRACE_CHROMIUM",
    "MILLRACE_PROFILE",
    "MILLRACE_OLD_BIN",
    "MILLRACE_DEBIAN_MIRROR",
    "MILLRACE_SCREENSHOTS",
];

impl Configuration {
    /// Reads one topic.
    fn topic<T>(
        &mut self,
        read: Result<T, ConfigError>,
        show: impl FnOnce(T) -> Vec<(&'static str, String)>,
    ) {
        match read {
            Ok(values) => self.settings.extend(show(values)),
            Err(error) => self.wrong.push(error.to_string()),
        }
    }

    /// Reads every topic.
    pub fn read() -> Self {
        let mut read = Self::default();
        read.topic(DatabaseConfig::from_env(), |database| match database {
            Some(database) => vec![
                ("DATABASE_URL", without_password(&database.url)),
                ("MILLRACE_DATABASE_POOL", database.pool_size.to_string()),
                (
                    "MILLRACE_CA",
                    crate::accounts::env("MILLRACE_CA")
                        .map_or(
                            "none: those that the system trusts",
                            |_| "set: added to those that the system trusts",
                        )
                        .to_owned(),
                ),
            ],
            None => {
                vec![("DATABASE_URL", "not set: a private PostgreSQL below the data directory".to_owned())]
            }
        });
        read.topic(RedisConfig::from_env(), |redis| match redis {
            Some(redis) => {
                vec![("REDIS_URL", without_password(&redis.url)), ("MILLRACE_REDIS_PREFIX", redis.prefix)]
            }
            None => vec![("REDIS_URL", "not set: a private Redis below the data directory".to_owned())],
        });
        read.topic(StorageConfig::from_env(), |storage| {
            let etl = EtlConfig::from_env(&storage.data_dir);
            let files = storage
                .url
                .as_deref()
                .map_or_else(|| format!("not set: {}", storage.files_dir().display()), without_password);
            vec![
                ("MILLRACE_DATA_DIR", storage.data_dir.display().to_string()),
                ("MILLRACE_STORAGE", files),
                ("MILLRACE_ETL_CLIENTS", etl.clients),
                ("MILLRACE_ETL_TRANSACTIONS", etl.transactions),
            ]
        });
        read.topic(SettingsConfig::from_env(), |settings| {
            vec![("MILLRACE_ZONE", settings.zone.to_string()), ("MILLRACE_CURRENCY", settings.currency)]
        });
        read.topic(ApiConfig::from_env(), |api| {
            vec![
                ("MILLRACE_LISTEN", api.listen.to_string()),
                ("MILLRACE_MAX_UPLOAD_BYTES", api.max_upload_bytes.to_string()),
                ("MILLRACE_SECURE_COOKIES", api.secure_cookies.to_string()),
                ("MILLRACE_TOKEN_MINUTES", (api.token_life.as_secs() / 60).to_string()),
                (
                    "MILLRACE_CALENDAR",
                    api.calendar
                        .map_or("not set: gregorian, service C's route jalali", Calendar::as_str)
                        .to_owned(),
                ),
                (
                    "MILLRACE_ALLOWED_ORIGINS",
                    match api.allowed_origins.as_slice() {
                        [] => "none: only our own pages open WebSockets".to_owned(),
                        origins => origins.join(","),
                    },
                ),
                ("MILLRACE_ALLOW_DESTRUCTIVE", api.allow_destructive.to_string()),
                ("MILLRACE_TRUSTED_PROXIES", api.trusted_proxies.to_string()),
                ("MILLRACE_DRAIN_MS", api.drain.as_millis().to_string()),
                ("MILLRACE_COMPAT_ANONYMOUS", api.compat.anonymous.to_string()),
                ("MILLRACE_COMPAT_TOKEN_MINUTES", (api.compat.access_life.as_secs() / 60).to_string()),
                ("MILLRACE_COMPAT_REFRESH_HOURS", (api.compat.refresh_life.as_secs() / 3600).to_string()),
                ("MILLRACE_COMPAT_RATE", api.compat.calls_per_minute.to_string()),
                ("MILLRACE_COMPAT_ROWS", api.compat.rows.to_string()),
            ]
        });
        read.topic(FeedConfig::from_env(), |feed| {
            vec![("MILLRACE_FEED_MINUTES", (feed.kept.as_secs() / 60).to_string())]
        });
        read.topic(MetricsConfig::from_env(), |metrics| {
            let listen = metrics
                .listen
                .map_or_else(|| "off: only the api has /metrics".to_owned(), |at| at.to_string());
            vec![("MILLRACE_METRICS_LISTEN", listen)]
        });
        read.topic(WorkerConfig::from_env(), |worker| {
            vec![
                ("MILLRACE_INGEST_SLOTS", worker.ingest_slots.to_string()),
                ("MILLRACE_DEFAULT_SLOTS", worker.default_slots.to_string()),
                ("MILLRACE_CONTROL_SLOTS", worker.control_slots.to_string()),
                ("MILLRACE_LIGHT_SLOTS", worker.light_slots.to_string()),
                ("MILLRACE_DELIVERY_SLOTS", worker.delivery_slots.to_string()),
                ("MILLRACE_HEARTBEAT_MS", worker.heartbeat.as_millis().to_string()),
                ("MILLRACE_LEASE_MS", worker.lease.as_millis().to_string()),
                ("MILLRACE_SHUTDOWN_GRACE_MS", worker.shutdown_grace.as_millis().to_string()),
                ("MILLRACE_CHUNK_RECORDS", worker.chunk_records.to_string()),
            ]
        });
        read.topic(SchedulesConfig::from_env(), |schedules| {
            let nightly = schedules.nightly.map_or_else(
                || "not set: true on the embedded default, else false".to_owned(),
                |nightly| nightly.to_string(),
            );
            vec![("MILLRACE_NIGHTLY", nightly)]
        });
        // Without a database of its own it is the embedded default.
        let embedded = matches!(DatabaseConfig::from_env(), Ok(None));
        read.topic(NotificationsConfig::from_env(embedded), |notifications| {
            let names = |channel| {
                // Their URLs hold passwords; that they can be made was found out when they were read.
                let providers = notifications.open().unwrap_or_default();
                let names: Vec<String> =
                    providers.get(&channel).into_iter().flatten().map(|named| named.name.clone()).collect();
                if names.is_empty() { "off".to_owned() } else { names.join(", ") }
            };
            let mut shown: Vec<_> =
                Channel::ALL.iter().map(|&channel| (variable(channel), names(channel))).collect();
            let url = notifications.public_url.clone();
            shown.push((
                "MILLRACE_PUBLIC_URL",
                url.unwrap_or_else(|| "not set: messages hold no links".to_owned()),
            ));
            shown.push(("MILLRACE_KEEP_NOTIFICATIONS_DAYS", notifications.keep_days.to_string()));
            shown
        });
        read.topic(RetentionConfig::from_env(), |retention| {
            vec![
                ("MILLRACE_KEEP_COMPLETED_DAYS", retention.completed_days.to_string()),
                ("MILLRACE_KEEP_FAILED_DAYS", retention.failed_days.to_string()),
            ]
        });
        read.topic(FilesConfig::from_env(), |files| {
            vec![
                ("MILLRACE_MAX_ROWS", files.rows.to_string()),
                ("MILLRACE_MAX_COLUMNS", files.columns.to_string()),
                ("MILLRACE_MAX_FIELD_BYTES", files.field_bytes.to_string()),
                ("MILLRACE_MAX_UNPACKED_BYTES", files.unpacked_bytes.to_string()),
                ("MILLRACE_MAX_UNPACK_RATIO", files.unpack_ratio.to_string()),
                ("MILLRACE_KEEP_FILES_DAYS", files.keep_days.to_string()),
            ]
        });
        match LogConfig::from_env(DEFAULT_FILTER) {
            Ok(log) => {
                read.settings.push(("MILLRACE_LOG", log.filter));
                read.settings.push(("MILLRACE_LOG_FORMAT", log.format.to_string()));
            }
            Err(error) => read.wrong.push(error),
        }
        // Of a group that cannot be used not every name is known.
        if read.wrong.is_empty() {
            let known = |name: &str| {
                let mut settings = read.settings.iter();
                settings.any(|(setting, _)| *setting == name) || BESIDE.contains(&name)
            };
            let named = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
            let ours =
                named.filter(|name| name.starts_with("MILLRACE_") && !name.starts_with("MILLRACE_TEST_"));
            read.unknown = ours.filter(|name| !known(name)).collect();
            read.unknown.sort();
        }
        read
    }
}

fn without_password(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut url) => {
            if url.password().is_some() {
                // Refused for URLs that can have no password.
                let _ = url.set_password(Some("***"));
            }
            url.to_string()
        }
        Err(_) => "set, but no URL".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::Configuration;

    #[test]
    fn each_setting_is_in_the_operators_table() {
        let table = include_str!("../../../docs/operations.md");
        for (name, _) in Configuration::read().settings {
            assert!(table.contains(&format!("`{name}`")), "docs/operations.md does not tell of {name}");
        }
    }
}
