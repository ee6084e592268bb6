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

/// Refuses a URL whose scheme is none of those; it may hold a password and is not shown.
fn require_scheme(name: &'static str, url: &str, schemes: &[&str]) -> Result<(), ConfigError> {
    let is_one =
        url.split_once("://").is_some_and(|(scheme, rest)| schemes.contains(&scheme) && !rest.is_empty());
    if is_one {
        return Ok(());
    }
    let reason = format!("write it as a URL that begins with {}://", schemes.join(":// or "));
    Err(ConfigError { name, value: "…".to_owned(), reason })
}

/// A number that is at least 1, or the default.
fn positive(name: &'static str, default: u64) -> Result<u64, ConfigError> {
    match parsed(name, default)? {
        0 => Err(ConfigError { name, value: "0".to_owned(), reason: "the least is 1".to_owned() }),
        number => Ok(number),
    }
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
