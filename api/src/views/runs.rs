//! Runs, attempts and log lines as JSON.

use super::words;
use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use serde::Serialize;
use shared::{
    ids::RunId,
    runs::{
        Run, RunAttempt, RunLog, RunState, counts,
        queries::DroppedLines,
        registry::Kind,
        waiting::{self, Waiting, WaitingReason},
    },
};
use utoipa::ToSchema;
use uuid::Uuid;

/// Why a run that has not ended is where it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct WaitingView {
    /// The reason, for programs.
    #[schema(schema_with = words::waiting_reason)]
    pub reason: WaitingReason,
    /// The reason, for people.
    pub text: String,
    /// When it ends by itself, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Who paused its queue or kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl From<Waiting> for WaitingView {
    fn from(waiting: Waiting) -> Self {
        let text = waiting.words();
        Self { reason: waiting.reason, text, until: waiting.detail.until, by: waiting.detail.by }
    }
}

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
    /// Why it waits for a time, or how it ended.
    pub reason: Option<String>,
    /// Why it is where it is; null once it has ended.
    pub waiting: Option<WaitingView>,
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

impl RunView {
    /// The views of runs; one query says why those wait that do.
    pub async fn list(conn: &mut AsyncPgConnection, runs: Vec<Run>) -> QueryResult<Vec<Self>> {
        let waiting: Vec<RunId> =
            runs.iter().filter(|run| !run.state.is_terminal()).map(|run| run.id).collect();
        let mut reasons = waiting::reasons(conn, &waiting).await?;
        Ok(runs
            .into_iter()
            .map(|run| {
                let waiting = reasons.remove(&run.id);
                Self::new(run, waiting)
            })
            .collect())
    }

    /// The view of one run.
    pub async fn load(conn: &mut AsyncPgConnection, run: Run) -> QueryResult<Self> {
        let waiting = waiting::reasons(conn, &[run.id]).await?.remove(&run.id);
        Ok(Self::new(run, waiting))
    }

    /// The view of a run that waits for this reason.
    pub fn new(run: Run, waiting: Option<Waiting>) -> Self {
        let path = format!("/api/v1/runs/{}", run.id);
        Self {
            id: run.id.0,
            kind: run.kind,
            queue: run.queue,
            args: run.args,
            state: run.state,
            reason: run.reason,
            waiting: waiting.map(WaitingView::from),
            priority: run.priority,
            attempt: run.attempt,
            max_attempts: run.max_attempts,
            crashes: run.crashes,
            run_at: run.run_at,
            start_by: run.start_by,
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
    pub fn of(run: &Run, kinds: &[Kind]) -> Vec<Self> {
        let Some(kind) = kinds.iter().find(|kind| kind.name == run.kind) else {
            return Vec::new();
        };
        if run.state.is_terminal() {
            return Vec::new();
        }
        // The wait after attempt n comes before attempt n + 1.
        let first = run.attempt.max(1);
        (first + 1..=run.max_attempts)
            .zip(kind.retry.counted(first, run.max_attempts)..)
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
    /// How many, counted up to 10,000.
    pub count: i64,
    /// Whether there may be more than were counted.
    pub more: bool,
}

impl From<counts::StateCount> for StateCount {
    fn from(counts::StateCount { state, count, more }: counts::StateCount) -> Self {
        Self { state, count, more }
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
    /// How long it took; null while it runs.
    pub duration_ms: Option<i64>,
    /// How: completed, error, failed, discarded, cancelled, interrupted, snoozed, crashed, timed_out.
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
            duration_ms: attempt.finished_at.map(|end| (end - attempt.started_at).num_milliseconds()),
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
    /// Its number within the attempt, from 1. A gap is lines that were dropped.
    pub line: i32,
    /// When.
    pub at: DateTime<Utc>,
    /// ERROR, WARN, INFO or DEBUG.
    pub level: String,
    /// The line.
    pub message: String,
}

impl From<RunLog> for LogView {
    fn from(line: RunLog) -> Self {
        let RunLog { id, attempt, line, at, level, message, .. } = line;
        Self { id, attempt, line, at, level, message }
    }
}

/// Log lines of an attempt that were dropped.
#[derive(Debug, Serialize, ToSchema)]
pub struct DroppedView {
    /// The attempt.
    pub attempt: i32,
    /// How many lines, its oldest.
    pub lines: i64,
}

impl From<DroppedLines> for DroppedView {
    fn from(DroppedLines { attempt, lines }: DroppedLines) -> Self {
        Self { attempt, lines }
    }
}

/// A page of a run's log.
#[derive(Debug, Serialize, ToSchema)]
pub struct LogPage {
    /// The lines, oldest first.
    pub items: Vec<LogView>,
    /// Cursor of the next page, if there is one.
    pub next: Option<String>,
    /// Always null.
    pub previous: Option<String>,
    /// How many lines of each attempt were dropped: the newest 1,000 of an attempt are kept. Attempts
    /// that have all of theirs are left out.
    pub dropped: Vec<DroppedView>,
}

/// The run that does something to many runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkView {
    /// The run; its `progress` counts the runs it has gone through.
    #[serde(flatten)]
    pub run: RunView,
    /// How many runs matched when it was asked for.
    pub matched: i64,
}
