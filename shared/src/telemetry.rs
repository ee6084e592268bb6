//! Logs. One line per event on standard error, as text for people or JSON for machines.

use std::io::IsTerminal;
use tracing_subscriber::{EnvFilter, Layer, Registry, layer::SubscriberExt, util::SubscriberInitExt};

/// What is logged unless `MILLRACE_LOG` says otherwise: everything of ours from info on, of the
/// libraries only what someone may have to act on.
pub const DEFAULT_FILTER: &str = "info,apalis=warn,apalis_core=warn,apalis_cron=warn,apalis_redis=warn,\
    h2=warn,hyper=warn,hyper_util=warn,object_store=warn,redis=warn,reqwest=warn,tokio_postgres=warn,tower_http=warn";

text_enum! {
    /// How a log line is written.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

/// `MILLRACE_LOG` (`info`, noisy libraries at `warn`): directives such as `debug` or
/// `info,worker=debug`; `trace` writes a line per statement and slows everything. `MILLRACE_LOG_FORMAT`
/// (`text`): `text` or `json`.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Directives, see [`EnvFilter`].
    pub filter: String,
    /// Text or JSON.
    pub format: LogFormat,
}

impl LogConfig {
    /// Reads the topic; `default_filter` holds if `MILLRACE_LOG` is absent.
    pub fn from_env(default_filter: &str) -> Result<Self, String> {
        let read = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let format = match read("MILLRACE_LOG_FORMAT") {
            None => LogFormat::Text,
            Some(word) => {
                word.trim().parse().map_err(|error| format!("MILLRACE_LOG_FORMAT cannot be used: {error}"))?
            }
        };
        Ok(Self { filter: read("MILLRACE_LOG").unwrap_or_else(|| default_filter.to_owned()), format })
    }
}

/// Begins to log. `extra` sees every event as well, whatever the filter of the lines says; give it a
/// filter of its own. Call it once, at the start of the process.
pub fn init<L>(config: &LogConfig, extra: Option<L>) -> Result<(), String>
where
    L: Layer<Registry> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&config.filter)
        .map_err(|error| format!("MILLRACE_LOG={:?} cannot be used: {error}", config.filter))?;
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    let registry = tracing_subscriber::registry().with(extra);
    match config.format {
        LogFormat::Text => registry.with(lines.with_target(false).with_filter(filter)).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true).with_filter(filter)).try_init(),
    }
    .map_err(|error| format!("logging cannot begin: {error}"))
}
