//! How an attempt ended, and what is written of it.

use serde_json::{Value, json};
use shared::runs::{Finished, JobError, queries::ClaimedRun, registry::Kind};
use std::time::Duration;
use tokio::task::JoinError;

/// How an attempt ended.
pub(crate) enum Outcome {
    /// The handler closed the run itself.
    Done,
    /// The handler ended well.
    Finished(Finished),
    /// It may succeed another time.
    Error { error: String, backtrace: Option<String> },
    /// It never will.
    Failed { error: String, backtrace: Option<String> },
    /// It stopped because somebody asked.
    Cancelled,
    /// It was stopped by a shutdown.
    Interrupted,
    /// Its time was over.
    TimedOut(Duration),
    /// The claim no longer holds: whoever holds it now decides.
    Lost,
}

impl Outcome {
    /// From what the handler's task returned.
    pub fn of(ended: Result<Result<Finished, JobError>, JoinError>, panic_backtrace: Option<String>) -> Self {
        match ended {
            Ok(Ok(Finished::Closed(_))) => Self::Done,
            Ok(Ok(finished)) => Self::Finished(finished),
            Ok(Err(JobError::Retry(error) | JobError::RetryAfter(error, _))) => {
                Self::Error { error: format!("{error:#}"), backtrace: backtrace(&error) }
            }
            Ok(Err(JobError::Fail(error))) => {
                Self::Failed { error: format!("{error:#}"), backtrace: backtrace(&error) }
            }
            // Asked to, or its flow is being cancelled.
            Ok(Err(JobError::Cancelled)) => Self::Cancelled,
            Err(join) => Self::Error { error: panic_message(join), backtrace: panic_backtrace },
        }
    }

    /// One line at the end of the attempt.
    pub fn log(&self, run: &ClaimedRun) {
        let kind = &run.kind;
        match self {
            Self::Done | Self::Finished(_) => tracing::debug!("{kind} is completed"),
            Self::Error { error, .. } if run.attempt < run.max_attempts => {
                tracing::warn!("{kind} failed, attempt {} of {}: {error}", run.attempt, run.max_attempts);
            }
            Self::Error { error, .. } => tracing::error!("{kind} failed its last attempt: {error}"),
            Self::Failed { error, .. } => tracing::error!("{kind} failed for good: {error}"),
            Self::Cancelled => tracing::info!("{kind} is cancelled"),
            Self::Interrupted => tracing::info!("{kind} is put back by the shutdown"),
            Self::TimedOut(after) => tracing::warn!("{kind} was stopped after {after:?}"),
            Self::Lost => tracing::warn!("{kind} is no longer held by this worker; it is stopped"),
        }
    }

    /// The element of `close_runs`' argument; `None` if there is nothing to close. `jitter` is 0 to 1.
    pub fn closing(&self, run: &ClaimedRun, kind: &Kind, jitter: f64) -> Option<Value> {
        let (outcome, result, error, backtrace) = match self {
            Self::Finished(Finished::Snooze(_)) => ("snoozed", None, None, None),
            Self::Done | Self::Lost | Self::Finished(Finished::Closed(_)) => return None,
            Self::Finished(Finished::Result(result)) => ("completed", Some(result), None, None),
            Self::Error { error, backtrace } => ("error", None, Some(error.clone()), backtrace.as_ref()),
            Self::Failed { error, backtrace } => ("failed", None, Some(error.clone()), backtrace.as_ref()),
            Self::Cancelled => ("cancelled", None, None, None),
            Self::Interrupted => ("interrupted", None, None, None),
            Self::TimedOut(after) => ("timed_out", None, Some(format!("no end after {after:?}")), None),
        };
        let delay_ms = kind.retry.delay(run.attempt, jitter).as_millis();
        Some(json!({
            "id": run.id,
            "token": run.claim_token,
            "outcome": outcome,
            "result": result,
            "error": error.as_ref().map(|error| storable(error)),
            "backtrace": backtrace.map(|backtrace| storable(backtrace)),
            "fingerprint": error.map(|error| format!("{}: {}", run.kind, normalised(&error))),
            "delay_ms": u64::try_from(delay_ms).unwrap_or(u64::MAX),
        }))
    }
}

/// Longest error or backtrace that is kept.
const KEPT_BYTES: usize = 16 << 10;

/// PostgreSQL's text holds no NUL; and a record of a failure is for reading.
fn storable(text: &str) -> String {
    text[..text.floor_char_boundary(KEPT_BYTES)].replace('\0', "\u{fffd}")
}

fn backtrace(error: &anyhow::Error) -> Option<String> {
    let backtrace = error.backtrace();
    (backtrace.status() == std::backtrace::BacktraceStatus::Captured).then(|| backtrace.to_string())
}

fn panic_message(join: JoinError) -> String {
    let Ok(panic) = join.try_into_panic() else { return "the handler was dropped".to_owned() };
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.as_deref().unwrap_or("without a message"))
}

/// An error without what differs from run to run: numbers, ids and quoted values.
fn normalised(error: &str) -> String {
    let mut short = String::new();
    for word in error.replace('\0', "").split_whitespace().take(24) {
        let varies = word.contains(|letter: char| letter.is_ascii_digit()) || word.starts_with('"');
        short.push_str(if varies { "#" } else { word });
        short.push(' ');
    }
    short.truncate(short.floor_char_boundary(200));
    short.trim_end().to_owned()
}
