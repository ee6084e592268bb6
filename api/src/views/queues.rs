//! Queues and pauses as JSON.

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::runs::queues::{Pause, PauseTarget, QueueStanding};
use utoipa::ToSchema;

/// How something is paused.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PauseView {
    /// Resumes by itself then.
    pub until: Option<DateTime<Utc>>,
    /// What who paused it said.
    pub reason: Option<String>,
    /// Who paused it.
    pub by: String,
    /// When.
    pub at: DateTime<Utc>,
}

impl PauseView {
    /// The pause of this target and name, of those that hold.
    pub fn of(pauses: &[Pause], target: PauseTarget, name: &str) -> Option<Self> {
        let pause = pauses.iter().find(|pause| pause.target == target && pause.name == name)?;
        Some(Self {
            until: pause.until,
            reason: pause.reason.clone(),
            by: pause.paused_by.clone(),
            at: pause.paused_at,
        })
    }
}

/// How a queue stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct QueueView {
    /// Its name.
    pub queue: String,
    /// Runs that could be claimed now.
    pub available: i64,
    /// How long the first of them has waited, in milliseconds; 0 if there is none.
    pub oldest_wait_ms: i64,
    /// Runs that run.
    pub running: i64,
    /// Runs that wait for their time or their next attempt.
    pub later: i64,
    /// Slots on all workers that are alive.
    pub slots: i64,
    /// How many may run at once on all workers together; as many as there are slots if null.
    pub limit: Option<i32>,
    /// How it is paused; null if it is not.
    pub paused: Option<PauseView>,
}

impl QueueView {
    /// The view of a standing, with its pause out of those that hold.
    pub fn new(standing: QueueStanding, pauses: &[Pause]) -> Self {
        Self {
            paused: PauseView::of(pauses, PauseTarget::Queue, &standing.queue),
            available: standing.available,
            oldest_wait_ms: standing.oldest_ms.max(0),
            running: standing.running,
            later: standing.later,
            slots: standing.slots,
            limit: standing.max_running,
            queue: standing.queue,
        }
    }
}
