//! Runs, attempts, log lines and workers as JSON.

use super::words;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::runs::{Run, RunAttempt, RunLog, RunState, Worker, registry::KINDS};
use utoipa::ToSchema;
use uuid::Uuid;

/// How far a run is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProgressView {
    /// Units done.
    pub done: i64,
    /// Units in all, once known.
    pub total: Option<i64>,
    /// What is counted: records, bytes.
    pub unit: Option<String>,
    /// What it does now.
    pub phase: Option<String>,
}

/// Where to go from a run.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunLinks {
    /// The run.
    #[serde(rename = "self")]
    pub itself: String,
    /// Its attempts.
    pub attempts: String,
    /// Its log.
    pub logs: String,
    /// Its children.
    pub children: String,
}

/// One run.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunView {
    /// Its id; ids sort by creation.
    pub id: Uuid,
    /// The job's kind.
    pub kind: String,
    /// The queue it waits in.
    pub queue: String,
    /// The job's arguments.
    pub args: serde_json::Value,
    /// Where it stands.
    #[schema(schema_with = words::run_state)]
    pub state: RunState,
    /// Why it waits or failed.
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
    /// The worker that runs it.
    pub worker_id: Option<Uuid>,
    /// Whether it is asked to stop.
    pub cancel_requested: bool,
    /// The run that waits for it.
    pub parent_id: Option<Uuid>,
    /// The root of its flow; itself, if alone.
    pub flow_id: Uuid,
    /// Children that are not yet terminal.
    pub blocked_by: i32,
    /// Of all runs with this key, one is unfinished at a time.
    pub unique_key: Option<String>,
    /// How far it is.
    pub progress: ProgressView,
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
    /// When its first attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it became terminal.
    pub finished_at: Option<DateTime<Utc>>,
    /// Where to go from here.
    pub links: RunLinks,
}

impl From<Run> for RunView {
    fn from(run: Run) -> Self {
        let path = format!("/api/v1/runs/{}", run.id);
        Self {
            id: run.id.0,
            kind: run.kind,
            queue: run.queue,
            args: run.args,
            state: run.state,
            reason: run.reason,
            priority: run.priority,
            attempt: run.attempt,
            max_attempts: run.max_attempts,
            crashes: run.crashes,
            run_at: run.run_at,
            worker_id: run.worker_id.map(|id| id.0),
            cancel_requested: run.cancel_requested,
            parent_id: run.parent_id.map(|id| id.0),
            flow_id: run.flow_id.0,
            blocked_by: run.blocked_by,
            unique_key: run.unique_key,
            progress: ProgressView {
                done: run.progress_done,
                total: run.progress_total,
                unit: run.progress_unit,
                phase: run.phase,
            },
            result: run.result,
            error: run.error,
            fingerprint: run.fingerprint,
            created_by: run.created_by,
            created_at: run.created_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            links: RunLinks {
                attempts: format!("{path}/attempts"),
                logs: format!("{path}/logs"),
                children: format!("{path}/children"),
                itself: path,
            },
        }
    }
}

/// An attempt that would follow a failed one.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlannedAttempt {
    /// Counted from 1.
    pub attempt: i32,
    /// Its time, if it is set: that of the attempt which is waiting.
    pub at: Option<DateTime<Utc>>,
    /// The longest wait before it, in milliseconds; jitter makes it shorter.
    pub longest_wait_ms: u64,
}

impl PlannedAttempt {
    /// Most that are listed.
    const LISTED: usize = 20;

    /// The attempts that would follow if each failed. None for an ended run.
    pub fn of(run: &Run) -> Vec<Self> {
        let Some(kind) = KINDS.iter().find(|kind| kind.name == run.kind) else {
            return Vec::new();
        };
        if run.state.is_terminal() {
            return Vec::new();
        }
        // The wait after attempt n comes before attempt n + 1; retries by hand begin the policy anew.
        let used = (run.attempt - (run.max_attempts - kind.retry.max_attempts()).max(0)).max(0);
        (run.attempt.max(1) + 1..=run.max_attempts)
            .zip(used.max(1)..)
            .take(Self::LISTED)
            .map(|(attempt, failed)| Self {
                attempt,
                at: (run.state == RunState::Retryable && attempt == run.attempt + 1).then_some(run.run_at),
                longest_wait_ms: u64::try_from(kind.retry.delay(failed, 1.0).as_millis()).unwrap_or(u64::MAX),
            })
            .collect()
    }
}

/// How many of something are in a state.
#[derive(Debug, Serialize, ToSchema)]
pub struct StateCount {
    /// The state.
    #[schema(schema_with = words::run_state)]
    pub state: RunState,
    /// How many.
    pub count: i64,
}

impl From<(RunState, i64)> for StateCount {
    fn from((state, count): (RunState, i64)) -> Self {
        Self { state, count }
    }
}

/// One run, its children counted and its next attempts foreseen.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunDetail {
    /// The run.
    #[serde(flatten)]
    pub run: RunView,
    /// Its children by state.
    pub children: Vec<StateCount>,
    /// The attempts that would follow if each failed.
    pub planned_attempts: Vec<PlannedAttempt>,
}

/// One attempt of a run.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptView {
    /// Counted from 1.
    pub attempt: i32,
    /// Who tried.
    pub worker_id: Uuid,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// How: completed, error, failed, discarded, cancelled, interrupted, crashed, timed_out.
    pub outcome: Option<String>,
    /// The error.
    pub error: Option<String>,
    /// Where it came from.
    pub backtrace: Option<String>,
}

impl From<RunAttempt> for AttemptView {
    fn from(attempt: RunAttempt) -> Self {
        Self {
            attempt: attempt.attempt,
            worker_id: attempt.worker_id.0,
            started_at: attempt.started_at,
            finished_at: attempt.finished_at,
            outcome: attempt.outcome,
            error: attempt.error,
            backtrace: attempt.backtrace,
        }
    }
}

/// One log line of a run.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogView {
    /// Ascends within a run.
    pub id: i64,
    /// The attempt that logged it.
    pub attempt: i32,
    /// When.
    pub at: DateTime<Utc>,
    /// ERROR, WARN, INFO or DEBUG.
    pub level: String,
    /// The line.
    pub message: String,
}

impl From<RunLog> for LogView {
    fn from(line: RunLog) -> Self {
        Self { id: line.id, attempt: line.attempt, at: line.at, level: line.level, message: line.message }
    }
}

/// One start of a worker process.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkerView {
    /// Fresh at each start.
    pub id: Uuid,
    /// Machine.
    pub host: String,
    /// Process id there.
    pub pid: i32,
    /// Version of Millrace.
    pub version: String,
    /// alive, stopped or dead.
    pub state: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// Its last heartbeat.
    pub last_seen: DateTime<Utc>,
}

impl From<Worker> for WorkerView {
    fn from(worker: Worker) -> Self {
        Self {
            id: worker.id.0,
            host: worker.host,
            pid: worker.pid,
            version: worker.version,
            state: worker.state,
            started_at: worker.started_at,
            last_seen: worker.last_seen,
        }
    }
}
