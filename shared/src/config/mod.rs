//! Configuration from the environment: one struct per topic, read once when a process starts. Tests
//! build the structs by hand.

mod notifications;
mod proxies;
mod topics;

pub use notifications::{NotificationsConfig, variable};
pub use proxies::TrustedProxies;
pub use topics::{
    ApiConfig, CompatConfig, DatabaseConfig, EtlConfig, FeedConfig, FilesConfig, MetricsConfig, RedisConfig,
    RetentionConfig, SchedulesConfig, SettingsConfig, StorageConfig, WorkerConfig,
};

/// A variable whose value cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name}={value:?} cannot be used: {reason}")]
pub struct ConfigError {
    /// The variable.
    pub name: &'static str,
    /// Its value (never that of a secret).
    pub value: String,
    /// What is wrong and what would be right.
    pub reason: String,
}

/// The variable's text, or `None` if it is absent or blank.
pub(crate) fn text(name: &'static str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// The variable parsed, or the default.
fn parsed<T>(name: &'static str, default: T) -> Result<T, ConfigError>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    match text(name) {
        None => Ok(default),
        Some(value) => {
            value.parse().map_err(|error: T::Err| ConfigError { name, reason: error.to_string(), value })
        }
    }
}
