//! How an attempt ended, and what is written of it.

use serde_json::{Value, json};
use shared::{
    db,
    runs::{Finished, JobError, failures, job::RETRY_AFTER_CAP, queries::ClaimedRun, registry::Kind},
    storage,
};
use std::time::Duration;
use tokio::task::JoinError;

/// How an attempt ended.
pub(crate) enum Outcome {
    /// The handler closed the run itself.
    Done,
    /// The handler ended well.
    Finished(Finished),
    /// It may succeed another time; not before `after`, if that is given.
    Error { error: String, backtrace: Option<String>, after: Option<Duration> },
    /// It never will.
    Failed { error: String, backtrace: Option<String> },
    /// It stopped because somebody asked.
    Cancelled,
    /// It was stopped by a shutdown.
    Interrupted,
    /// It lost the database.
    Disconnected { error: String },
    /// Its time was over; and if it did not stop when it was asked to, what became of it.
    TimedOut { after: Duration, ignored: Option<&'static str> },
    /// The claim no longer holds: whoever holds it now decides.
    Lost,
}

impl Outcome {
    /// From what the handler's task returned.
    pub fn of(ended: Result<Result<Finished, JobError>, JoinError>, panic_backtrace: Option<String>) -> Self {
        match ended {
            Ok(Ok(Finished::Closed(_))) => Self::Done,
            Ok(Ok(finished)) => Self::Finished(finished),
            // Not the run's fault: it burns no attempt. A run that takes the server down with it each time
            // is counted like one that takes its worker down.
            Ok(Err(JobError::Retry(error))) if db::is_outage(&error) => {
                Self::Disconnected { error: format!("the database went away: {error:#}") }
            }
            Ok(Err(JobError::Retry(error))) => Self::error(&error, None),
            Ok(Err(JobError::RetryAfter(error, after))) => {
                Self::error(&error, Some(after.min(RETRY_AFTER_CAP)))
            }
            Ok(Err(JobError::Fail(error))) => {
                Self::Failed { error: format!("{error:#}"), backtrace: backtrace(&error) }
            }
            // Asked to, or its flow is being cancelled.
            Ok(Err(JobError::Cancelled)) => Self::Cancelled,
            Err(join) => Self::Error { error: panic_message(join), backtrace: panic_backtrace, after: None },
        }
    }

    fn error(error: &anyhow::Error, after: Option<Duration>) -> Self {
        let text = match storage::is_full(error.as_ref()) {
            None => format!("{error:#}"),
            Some(what) => format!(
                "The {what} is full: {error:#}. Nothing is lost: make room, then retry, and it goes on where it \
                 stopped."
            ),
        };
        Self::Error { error: text, backtrace: backtrace(error), after }
    }

    /// The attempt's outcome, as it is recorded.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Finished(Finished::Snooze(_)) => "snoozed",
            Self::Done | Self::Finished(_) => "completed",
            Self::Error { .. } => "error",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted | Self::Disconnected { .. } => "interrupted",
            Self::TimedOut { .. } => "timed_out",
            Self::Lost => "crashed",
        }
    }

    /// Whether the handler itself has closed the run.
    pub fn is_completed(&self) -> bool {
        matches!(self, Self::Done | Self::Finished(Finished::Closed(_)))
    }

    /// The handler did not stop when it was asked to.
    pub fn ignored(self, became: &'static str) -> Self {
        match self {
            Self::TimedOut { after, .. } => Self::TimedOut { after, ignored: Some(became) },
            other => other,
        }
    }

    /// One line at the end of the attempt.
    pub fn log(&self, run: &ClaimedRun) {
        let kind = &run.kind;
        match self {
            Self::Finished(Finished::Snooze(wait)) => {
                tracing::info!("{kind} asked to be called again in {wait:?}")
            }
            Self::Done | Self::Finished(_) => tracing::debug!("{kind} is completed"),
            Self::Error { error, .. } if run.attempt < run.max_attempts => {
                tracing::warn!("{kind} failed, attempt {} of {}: {error}", run.attempt, run.max_attempts);
            }
            Self::Error { error, .. } => tracing::error!("{kind} failed its last attempt: {error}"),
            Self::Failed { error, .. } => tracing::error!("{kind} failed for good: {error}"),
            Self::Cancelled => tracing::info!("{kind} is cancelled"),
            Self::Interrupted => tracing::info!("{kind} is put back by the shutdown"),
            Self::Disconnected { error } => tracing::warn!("{kind} is put back: {error}"),
            Self::TimedOut { after, .. } => tracing::warn!("{kind} was stopped after {after:?}"),
            Self::Lost => tracing::warn!("{kind} is no longer held by this worker; it is stopped"),
        }
    }

    /// The element of `close_runs`' argument; `None` if there is nothing to close. `ran` is the attempt's
    /// time, `jitter` is 0 to 1.
    pub fn closing(&self, run: &ClaimedRun, kind: &Kind, ran: Duration, jitter: f64) -> Option<Value> {
        let mut delay = kind.retry.delay(kind.retry.counted(run.attempt, run.max_attempts), jitter);
        let (mut outcome, mut result, mut error, mut stack) = match self {
            Self::Done | Self::Lost | Self::Finished(Finished::Closed(_)) => return None,
            Self::Finished(Finished::Snooze(wait)) => {
                delay = *wait;
                ("snoozed", None, None, None)
            }
            Self::Finished(Finished::Result(result)) => ("completed", Some(result.clone()), None, None),
            Self::Error { error, backtrace, after } => {
                delay = delay.max(after.unwrap_or_default());
                ("error", None, Some(error.clone()), backtrace.as_deref())
            }
            Self::Failed { error, backtrace } => ("failed", None, Some(error.clone()), backtrace.as_deref()),
            Self::Cancelled => ("cancelled", None, None, None),
            Self::Interrupted => ("interrupted", None, None, None),
            Self::Disconnected { error } => ("interrupted", None, Some(error.clone()), None),
            Self::TimedOut { after, ignored } => {
                let ignored =
                    ignored.map(|became| format!("; it ignored that it was to stop and was {became}"));
                (
                    "timed_out",
                    None,
                    Some(format!("no end after {after:?}{}", ignored.unwrap_or_default())),
                    None,
                )
            }
        };
        if let Some(too_large) = result.as_mut().and_then(storable_result) {
            (outcome, result, error, stack) = ("failed", None, Some(too_large), None);
        }
        if let (Some(limit), "error" | "timed_out", Some(error)) = (kind.give_up_after, outcome, &mut error) {
            let tried = Duration::from_millis(run.trying_ms.unsigned_abs()) + ran;
            if tried + delay > limit && run.attempt < run.max_attempts {
                outcome = "discarded";
                error.push_str(&format!(
                    " (given up: the next attempt would begin later than {limit:?} after the first)"
                ));
            }
        }
        let error = error.map(|error| storable(&error));
        let failure = error.as_deref().map(|error| failures::fingerprint(kind.name, error));
        let (fingerprint, message) = failure.unzip();
        Some(json!({
            "id": run.id,
            "token": run.claim_token,
            "outcome": outcome,
            "result": result,
            "error": error,
            "backtrace": stack.map(storable),
            "fingerprint": fingerprint,
            "message": message,
            "delay_ms": u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        }))
    }
}

/// Largest result that is kept: a result is for reading, data belong in tables.
const RESULT_BYTES: usize = 1 << 20;

/// Makes a result storable; what is wrong, if it cannot be.
fn storable_result(result: &mut Value) -> Option<String> {
    let text = result.to_string();
    if text.len() > RESULT_BYTES {
        return Some(format!("its result has {} bytes; at most {RESULT_BYTES} can be kept", text.len()));
    }
    // PostgreSQL's jsonb holds no NUL.
    if text.contains("\\u0000") {
        *result = serde_json::from_str(&text.replace("\\u0000", "\\ufffd")).unwrap_or(Value::Null);
    }
    None
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
