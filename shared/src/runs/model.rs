//! Runs, attempts, logs and workers as they are stored, and the state machine of a run.

use crate::{
    ids::{ClaimToken, RunId, WorkerId},
    schema::{run_attempts, run_logs, runs, workers},
};
use chrono::{DateTime, Utc};
use diesel::prelude::*;

text_enum! {
    /// Where a run stands.
    RunState {
        /// Waits for its time.
        Scheduled = "scheduled",
        /// Can be claimed.
        Available = "available",
        /// Waits for its children.
        Blocked = "blocked",
        /// Claimed by a worker.
        Running = "running",
        /// Failed an attempt, waits for the next.
        Retryable = "retryable",
        /// Done; its effects are committed.
        Completed = "completed",
        /// Ended by an error that no retry mends, or by a failed child.
        Failed = "failed",
        /// Ended on request.
        Cancelled = "cancelled",
        /// Ended after its last attempt.
        Discarded = "discarded",
    }
}

text_enum! {
    /// What happens to a run.
    RunEvent {
        /// Its time has come.
        Due = "due",
        /// A worker takes it.
        Claim = "claim",
        /// It succeeded.
        Complete = "complete",
        /// A permanent error.
        Fail = "fail",
        /// The last attempt failed.
        Discard = "discard",
        /// An attempt failed, another will follow.
        BackOff = "back_off",
        /// A shutdown or a crash hands it back.
        PutBack = "put_back",
        /// Its handler says: not now.
        Snooze = "snooze",
        /// It waited longer than it was worth waiting for.
        Expire = "expire",
        /// Its last child finished well.
        Unblock = "unblock",
        /// Its last child finished, one of them badly.
        FailByChild = "fail_by_child",
        /// Cancelled before, while or between attempts.
        Cancel = "cancel",
        /// An operator wants it again.
        Retry = "retry",
        /// An operator wants its failed children again.
        RetryChildren = "retry_children",
    }
}

/// An event that a state refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a run that is {from} cannot {event}")]
pub struct InvalidTransition {
    /// The state.
    pub from: RunState,
    /// The event.
    pub event: RunEvent,
}

impl RunState {
    /// The state after an event. The trigger `runs_guard` holds the same table
    /// (test: `the_database_and_the_code_allow_the_same_transitions`).
    pub fn next(self, event: RunEvent) -> Result<Self, InvalidTransition> {
        use RunEvent as E;
        use RunState as S;
        Ok(match (self, event) {
            (S::Scheduled | S::Retryable, E::Due) => S::Available,
            (S::Available, E::Claim) => S::Running,
            (S::Running, E::Complete) => S::Completed,
            (S::Running, E::Fail) => S::Failed,
            (S::Running, E::Discard) | (S::Available, E::Expire) => S::Discarded,
            (S::Running, E::Snooze) => S::Scheduled,
            (S::Running, E::BackOff) => S::Retryable,
            (S::Running, E::PutBack) => S::Available,
            (S::Blocked, E::Unblock) => S::Available,
            (S::Blocked, E::FailByChild) => S::Failed,
            (S::Scheduled | S::Available | S::Blocked | S::Running | S::Retryable, E::Cancel) => S::Cancelled,
            (S::Failed | S::Discarded | S::Cancelled, E::Retry) => S::Available,
            (S::Failed | S::Discarded | S::Cancelled, E::RetryChildren) => S::Blocked,
            (from, event) => return Err(InvalidTransition { from, event }),
        })
    }

    /// Whether nothing more happens by itself.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Discarded)
    }
}

/// One run. Times are UTC; progress counts `progress_unit`s.
#[derive(Debug, Clone, Queryable, Selectable, QueryableByName)]
#[diesel(table_name = runs, check_for_backend(diesel::pg::Pg))]
pub struct Run {
    /// Its id (UUID v7: ids sort by creation).
    pub id: RunId,
    /// The job's kind.
    pub kind: String,
    /// The queue it waits in.
    pub queue: String,
    /// The job's arguments.
    pub args: serde_json::Value,
    /// Where it stands.
    pub state: RunState,
    /// Why it waits for a time, or how it ended; see [`super::waiting`] for what it waits for now.
    pub reason: Option<String>,
    /// Lower runs first.
    pub priority: i16,
    /// Attempts opened so far.
    pub attempt: i32,
    /// Attempts it may have.
    pub max_attempts: i32,
    /// Attempts lost with their worker.
    pub crashes: i16,
    /// Not before.
    pub run_at: DateTime<Utc>,
    /// Discarded if it has not begun by then.
    pub start_by: Option<DateTime<Utc>>,
    /// The claim that holds it, while it runs.
    pub claim_token: Option<ClaimToken>,
    /// The worker that runs it.
    pub worker_id: Option<WorkerId>,
    /// Whether it is asked to stop.
    pub cancel_requested: bool,
    /// The run that waits for it.
    pub parent_id: Option<RunId>,
    /// The root of its flow (itself, if alone).
    pub flow_id: RunId,
    /// Children that are not yet terminal.
    pub blocked_by: i32,
    /// Excludes runs with the same key while held.
    pub unique_key: Option<String>,
    /// Units done.
    pub progress_done: i64,
    /// Units in all, if known.
    pub progress_total: Option<i64>,
    /// What is counted.
    pub progress_unit: Option<String>,
    /// What it does now.
    pub phase: Option<String>,
    /// What it answered.
    pub result: Option<serde_json::Value>,
    /// Its last error.
    pub error: Option<String>,
    /// Groups like failures.
    pub fingerprint: Option<String>,
    /// Who asked for it.
    pub created_by: String,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When its first attempt began, since it was last asked for.
    pub started_at: Option<DateTime<Utc>>,
    /// When it became terminal.
    pub finished_at: Option<DateTime<Utc>>,
}

/// One attempt of a run.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = run_attempts, check_for_backend(diesel::pg::Pg))]
pub struct RunAttempt {
    /// The run.
    pub run_id: RunId,
    /// Counted from 1.
    pub attempt: i32,
    /// Who tried.
    pub worker_id: WorkerId,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// How: completed, error, failed, discarded, cancelled, interrupted, snoozed, crashed, timed_out.
    pub outcome: Option<String>,
    /// The error.
    pub error: Option<String>,
    /// Where it came from.
    pub backtrace: Option<String>,
}

/// Log lines of an attempt that are kept: the newest.
pub const KEPT_LINES: usize = 1000;

/// One log line of a run.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = run_logs, check_for_backend(diesel::pg::Pg))]
pub struct RunLog {
    /// Ascending within a run.
    pub id: i64,
    /// The run.
    pub run_id: RunId,
    /// The attempt that logged it.
    pub attempt: i32,
    /// Its number within the attempt, from 1. The newest lines are kept: a gap says how many are not.
    pub line: i32,
    /// When.
    pub at: DateTime<Utc>,
    /// ERROR, WARN, INFO or DEBUG.
    pub level: String,
    /// The line.
    pub message: String,
}

/// One start of a worker process.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = workers, check_for_backend(diesel::pg::Pg))]
pub struct Worker {
    /// Fresh at each start.
    pub id: WorkerId,
    /// Machine.
    pub host: String,
    /// Process id there.
    pub pid: i32,
    /// Version of Millrace.
    pub version: String,
    /// alive, stopped or dead; see [`Worker::standing`].
    pub state: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// Its last heartbeat.
    pub last_seen: DateTime<Utc>,
    /// Slots by queue.
    pub slots: serde_json::Value,
    /// The kinds it knows.
    pub kinds: Vec<String>,
    /// Silent for so long, it is taken for dead.
    pub lease_ms: i32,
}

impl Worker {
    /// alive, stopping, stopped or dead. One that stops has given up its slots.
    pub fn standing(&self) -> &str {
        let stopping = self.state == "alive" && self.slots.as_object().is_some_and(serde_json::Map::is_empty);
        if stopping { "stopping" } else { &self.state }
    }
}
