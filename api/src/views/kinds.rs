//! Kinds of jobs as JSON.

use super::queues::PauseView;
use serde::Serialize;
use shared::runs::{
    Retry,
    queues::{Pause, PauseTarget},
    registry::Kind,
};
use std::time::Duration;
use utoipa::ToSchema;

/// What follows a failed attempt.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "policy", rename_all = "snake_case")]
pub enum RetryView {
    /// `first_ms`, doubled each time up to `cap_ms`, with full jitter.
    Exponential {
        /// Attempts in all.
        max_attempts: i32,
        /// Longest first wait, in milliseconds.
        first_ms: u64,
        /// Longest wait, in milliseconds.
        cap_ms: u64,
    },
    /// These waits, then no more.
    Fixed {
        /// Attempts in all.
        max_attempts: i32,
        /// In milliseconds.
        waits_ms: Vec<u64>,
    },
    /// About these waits, each up to a tenth shorter or longer, then no more.
    Spread {
        /// Attempts in all.
        max_attempts: i32,
        /// In milliseconds.
        waits_ms: Vec<u64>,
    },
    /// Nothing.
    None {
        /// Attempts in all: 1.
        max_attempts: i32,
    },
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl From<Retry> for RetryView {
    fn from(retry: Retry) -> Self {
        let max_attempts = retry.max_attempts();
        match retry {
            Retry::Exponential { first, cap, .. } => {
                Self::Exponential { max_attempts, first_ms: ms(first), cap_ms: ms(cap) }
            }
            Retry::Fixed(waits) => {
                Self::Fixed { max_attempts, waits_ms: waits.iter().map(|&wait| ms(wait)).collect() }
            }
            Retry::Spread(waits) => {
                Self::Spread { max_attempts, waits_ms: waits.iter().map(|&wait| ms(wait)).collect() }
            }
            Retry::Never => Self::None { max_attempts },
        }
    }
}

/// A kind of job.
#[derive(Debug, Serialize, ToSchema)]
pub struct KindView {
    /// Its stable name.
    pub kind: String,
    /// Where its runs wait.
    pub queue: String,
    /// Lower runs first; a point is worth a minute of waiting.
    pub priority: i16,
    /// An attempt is ended after this time.
    pub timeout_ms: u64,
    /// What follows a failed attempt.
    pub retry: RetryView,
    /// A run that has not begun within this time of becoming due is discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_within_ms: Option<u64>,
    /// After this time since its first attempt, a failed attempt is the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub give_up_after_ms: Option<u64>,
    /// Whether it has effects outside the database.
    pub external: bool,
    /// Whether its runs can be cloned.
    pub clonable: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unclonable_reason: Option<String>,
    /// The JSON schema of its arguments.
    pub args_schema: serde_json::Value,
    /// How it is paused; null if it is not.
    pub paused: Option<PauseView>,
}

impl KindView {
    /// The view of a kind, with its pause out of those that hold.
    pub fn new(kind: &Kind, pauses: &[Pause]) -> Self {
        Self {
            kind: kind.name.to_owned(),
            queue: kind.queue.to_string(),
            priority: kind.priority,
            timeout_ms: ms(kind.timeout),
            retry: kind.retry.into(),
            start_within_ms: kind.start_within.map(ms),
            give_up_after_ms: kind.give_up_after.map(ms),
            external: kind.external,
            clonable: kind.unclonable.is_none(),
            unclonable_reason: kind.unclonable.map(str::to_owned),
            args_schema: (kind.schema)(),
            paused: PauseView::of(pauses, PauseTarget::Kind, kind.name),
        }
    }
}
