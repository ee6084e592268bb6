//! What a job kind is, and what its handler is given.
//!
//! A handler ends in one of two ways. If its effects live in PostgreSQL it calls
//! [`RunContext::complete`] (or `complete_copy`) inside the transaction that writes them: effects and
//! "done" commit together or not at all. Otherwise it returns [`Finished::Result`] and the executor
//! closes the run.

use super::{
    doorbell::Doorbells,
    error::RunError,
    model::RunState,
    registry::Registered,
    service::{EnqueueOptions, Enqueued, enqueue},
};
use crate::{
    cache::Cache,
    clock::Clock,
    config::{EtlConfig, FilesConfig, RetentionConfig},
    db::{DbConnection, DbPool, LoadConnections},
    ids::{ClaimToken, RunId},
    notifications::NotificationDesk,
    settings::Settings,
    storage::Storage,
    trades::TradeDesk,
    transactions::live::LiveDesk,
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

text_enum! {
    /// A queue: runs wait in it, workers give slots to it.
    Queue {
        /// Files: few runs, each heavy.
        Ingest = "ingest",
        /// Runs of a few milliseconds: claimed and closed many at a time.
        Light = "light",
        /// Messages to people and programs: most of the time they wait for somebody else's server.
        Deliveries = "deliveries",
        /// Everything else.
        Default = "default",
        /// What operators ask for: it waits behind no other work, and pausing that work does not stop it.
        Control = "control",
    }
}

/// How often a failed attempt is followed by another, and when. A shutdown or a worker's death burns
/// no attempt.
#[derive(Debug, Clone, Copy)]
pub enum Retry {
    /// `first`, doubled each time up to `cap`, with full jitter.
    Exponential {
        /// Attempts in all.
        max_attempts: i32,
        /// Longest first wait.
        first: Duration,
        /// Longest wait.
        cap: Duration,
    },
    /// These waits, then no more.
    Fixed(&'static [Duration]),
    /// About these waits, each up to a tenth shorter or longer, then no more.
    Spread(&'static [Duration]),
    /// One attempt.
    Never,
}

impl Retry {
    /// Attempts in all.
    pub fn max_attempts(&self) -> i32 {
        match self {
            Self::Exponential { max_attempts, .. } => *max_attempts,
            Self::Fixed(waits) | Self::Spread(waits) => {
                i32::try_from(waits.len()).unwrap_or(i32::MAX - 1) + 1
            }
            Self::Never => 1,
        }
    }

    /// The number of a run's attempt among those that count: not those that it asked to be called again after, nor
    /// those that a shutdown or a death ended; a retry by hand begins anew. Each of these adds one to the run's most.
    pub fn counted(&self, attempt: i32, most: i32) -> i32 {
        (self.max_attempts() - (most - attempt)).max(1)
    }

    /// The wait after a failed attempt (the number of those that count, from 1); `jitter` in 0.0..=1.0 scales it.
    pub fn delay(&self, attempt: i32, jitter: f64) -> Duration {
        let index = usize::try_from(attempt - 1).unwrap_or(0);
        match self {
            Self::Exponential { first, cap, .. } => {
                let doubled = first.saturating_mul(1u32 << index.min(20));
                doubled.min(*cap).mul_f64(jitter.clamp(0.0, 1.0))
            }
            Self::Fixed(waits) => waits.get(index).or(waits.last()).copied().unwrap_or_default(),
            Self::Spread(waits) => {
                let wait = waits.get(index).or(waits.last()).copied().unwrap_or_default();
                wait.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0))
            }
            Self::Never => Duration::ZERO,
        }
    }
}

/// A key of which at most one run exists at a time in the given states.
#[derive(Debug, Clone)]
pub struct Unique {
    /// The key, made of the arguments that count; without the kind (it is added).
    pub key: String,
    /// The states in which the run excludes others.
    pub states: &'static [RunState],
}

impl Unique {
    /// Until it starts: what it will do includes whatever the later caller wants done.
    pub const UNTIL_STARTED: &'static [RunState] =
        &[RunState::Scheduled, RunState::Available, RunState::Blocked, RunState::Retryable];
    /// Until it is terminal.
    pub const UNTIL_FINISHED: &'static [RunState] = &[
        RunState::Scheduled,
        RunState::Available,
        RunState::Blocked,
        RunState::Retryable,
        RunState::Running,
    ];
    /// Unless it ends badly: once done, it is done for good (as long as the run is kept).
    pub const UNLESS_FAILED: &'static [RunState] = &[
        RunState::Scheduled,
        RunState::Available,
        RunState::Blocked,
        RunState::Retryable,
        RunState::Running,
        RunState::Completed,
    ];
}

/// A kind of job. Arguments carry ids, never rows; their schema is shown to people who clone a run.
pub trait Job: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// Stable name, stored with every run.
    const KIND: &'static str;
    /// Where its runs wait.
    const QUEUE: Queue;
    /// What follows a failed attempt.
    const RETRY: Retry;
    /// An attempt is ended after this time.
    const TIMEOUT: Duration;
    /// Lower runs first; a point is worth a minute of waiting.
    const PRIORITY: i16 = 100;
    /// A run that has not begun within this time of becoming due is discarded.
    const START_WITHIN: Option<Duration> = None;
    /// After this time since its first attempt, a failed attempt is the last.
    const GIVE_UP_AFTER: Option<Duration> = None;
    /// Whether it has effects outside PostgreSQL: its claims are then on disk before it begins.
    const EXTERNAL: bool = false;
    /// Why a run of this kind cannot be cloned, if it cannot.
    const UNCLONABLE: Option<&'static str> = None;

    /// Whether [`Self::start`] begins a run together with the steps that it waits for; it may then be put on a
    /// clock although it cannot be cloned.
    const RECIPE: bool = false;

    /// Begins a run, with its steps if it is a recipe, in the caller's transaction.
    fn start<'a>(
        self,
        conn: &'a mut AsyncPgConnection,
        options: &'a EnqueueOptions,
    ) -> BoxFuture<'a, Result<Enqueued, RunError>>
    where
        Self: Registered,
    {
        Box::pin(async move { enqueue(conn, &self, options).await })
    }

    /// The key by which runs exclude each other, if they do.
    fn unique(&self) -> Option<Unique> {
        None
    }

    /// Does the work. It may be run again after any crash: its effects must be in the closing
    /// transaction, or harmless to repeat.
    fn run(self, context: RunContext) -> impl Future<Output = Result<Finished, JobError>> + Send;
}

/// How a handler ended well.
#[derive(Debug)]
pub enum Finished {
    /// The run was closed in the handler's own transaction.
    Closed(Closed),
    /// The executor is to close the run with this result.
    Result(serde_json::Value),
    /// Not now: run again after this time. Burns no attempt.
    Snooze(Duration),
}

/// Proof that the run was closed; only [`RunContext`] makes it.
#[derive(Debug)]
pub struct Closed(());

impl From<Closed> for Finished {
    fn from(closed: Closed) -> Self {
        Self::Closed(closed)
    }
}

/// Locks, in id order, those of some claimed runs whose claims still hold, and names them. A batch works only for
/// these.
pub async fn hold_runs(
    transaction: &tokio_postgres::Transaction<'_>,
    claims: &[(RunId, ClaimToken)],
) -> Result<Vec<RunId>, tokio_postgres::Error> {
    let (ids, tokens): (Vec<uuid::Uuid>, Vec<uuid::Uuid>) =
        claims.iter().map(|(run, token)| (run.0, token.0)).unzip();
    let held = transaction.query("SELECT hold_runs($1, $2)", &[&ids, &tokens]).await?;
    Ok(held.iter().map(|row| RunId(row.get(0))).collect())
}

/// Closes runs that [`hold_runs`] has locked in this transaction as completed, each with its result.
pub async fn complete_runs(
    transaction: &tokio_postgres::Transaction<'_>,
    completed: &[(RunId, ClaimToken, serde_json::Value)],
) -> Result<Vec<(RunId, Closed)>, tokio_postgres::Error> {
    let closings: Vec<_> = completed
        .iter()
        .map(|(id, token, result)| {
            serde_json::json!({ "id": id, "token": token, "outcome": "completed", "result": result })
        })
        .collect();
    let closed =
        transaction.query("SELECT id FROM close_runs($1)", &[&serde_json::Value::Array(closings)]).await?;
    Ok(closed.iter().map(|row| (RunId(row.get(0)), Closed(()))).collect())
}

/// Why a handler did not end well, and what happens next.
#[derive(Debug)]
pub enum JobError {
    /// Try again, by the kind's policy.
    Retry(anyhow::Error),
    /// Try again, but not before this time is over, as somebody asked (`Retry-After`). What is asked
    /// for beyond [`RETRY_AFTER_CAP`] is cut.
    RetryAfter(anyhow::Error, Duration),
    /// No retry would help.
    Fail(anyhow::Error),
    /// It stopped because it was asked to.
    Cancelled,
}

/// The longest wait that a `Retry-After` is granted.
pub const RETRY_AFTER_CAP: Duration = Duration::from_secs(3600);

impl JobError {
    /// For `map_err`: another attempt may succeed.
    pub fn retry(error: impl Into<anyhow::Error>) -> Self {
        Self::Retry(error.into())
    }

    /// For `map_err`: another attempt would fail alike.
    pub fn fail(error: impl Into<anyhow::Error>) -> Self {
        Self::Fail(error.into())
    }
}

impl From<RunError> for JobError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::FlowCancelled => Self::Cancelled,
            // Whoever holds the run now does its work; this attempt must only end.
            other => Self::retry(other),
        }
    }
}

impl From<diesel::result::Error> for JobError {
    fn from(error: diesel::result::Error) -> Self {
        Self::retry(error)
    }
}

/// What a process has that its handlers need.
pub struct Environment {
    /// Pooled connections.
    pub pool: DbPool,
    /// Connections for COPY.
    pub load_connections: LoadConnections,
    /// Uploaded files.
    pub storage: Storage,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Zone and currency.
    pub settings: Settings,
    /// Rings after an enqueue.
    pub doorbells: Doorbells,
    /// Records of a chunk.
    pub chunk_records: u64,
    /// The kinds there are.
    pub kinds: &'static [super::registry::Kind],
    /// How long what has ended is kept.
    pub retention: RetentionConfig,
    /// What files may hold, and how long they are kept.
    pub files: FilesConfig,
    /// The files of the recipe.
    pub etl: EtlConfig,
    /// Answers that are read in haste.
    pub cache: Cache,
    /// Trades that are accepted, and settled, together.
    pub trades: TradeDesk,
    /// Transactions that come live, and are loaded together.
    pub live: LiveDesk,
    /// Providers of messages, and deliveries that are recorded together.
    pub notifications: NotificationDesk,
}

/// What one attempt of one run is given.
#[derive(Clone)]
pub struct RunContext {
    /// The run.
    pub run_id: RunId,
    /// The root of its flow.
    pub flow_id: RunId,
    /// The run that waits for it.
    pub parent_id: Option<RunId>,
    /// The fence.
    pub token: ClaimToken,
    /// Counted from 1.
    pub attempt: i32,
    /// Ends when the run is to stop: check it between steps of long work.
    pub cancel: CancellationToken,
    /// The process's means.
    pub env: Arc<Environment>,
}

impl RunContext {
    /// A pooled connection.
    pub async fn connection(&self) -> Result<DbConnection, JobError> {
        self.env.pool.get().await.map_err(JobError::retry)
    }

    /// Locks the run within the caller's transaction; fails if the claim no longer holds it. A transaction
    /// that adds steps to a flow calls it first: children are locked before parents.
    pub async fn hold(&self, conn: &mut AsyncPgConnection) -> Result<(), RunError> {
        use diesel::sql_types::Uuid;
        let held = diesel::sql_query("SELECT hold_runs(ARRAY[$1], ARRAY[$2])")
            .bind::<Uuid, _>(self.run_id.0)
            .bind::<Uuid, _>(self.token.0)
            .execute(conn)
            .await?;
        if held == 0 { Err(RunError::FenceLost) } else { Ok(()) }
    }

    /// Closes the run as completed within the caller's transaction. Fails if the claim no longer holds
    /// the run; the caller's transaction must then roll back.
    pub async fn complete(
        &self,
        conn: &mut AsyncPgConnection,
        result: &serde_json::Value,
    ) -> Result<Closed, RunError> {
        use diesel::sql_types::{Jsonb, Uuid};
        diesel::sql_query("SELECT close_run($1, $2, 'completed', $3)")
            .bind::<Uuid, _>(self.run_id.0)
            .bind::<Uuid, _>(self.token.0)
            .bind::<Jsonb, _>(result)
            .execute(conn)
            .await?;
        Ok(Closed(()))
    }

    /// [`RunContext::complete`] for a transaction on a COPY connection.
    pub async fn complete_copy(
        &self,
        transaction: &tokio_postgres::Transaction<'_>,
        result: &serde_json::Value,
    ) -> Result<Closed, tokio_postgres::Error> {
        transaction
            .execute("SELECT close_run($1, $2, 'completed', $3)", &[&self.run_id.0, &self.token.0, result])
            .await?;
        Ok(Closed(()))
    }

    /// Leaves a result on the run for an attempt that is about to fail: what it has found. Does nothing if the
    /// claim no longer holds the run; dying before the failure is on record is a crash, and the run's next
    /// attempt finds its own.
    pub async fn leave_result(&self, result: &serde_json::Value) -> Result<(), JobError> {
        let conn = &mut *self.connection().await?;
        Ok(super::queries::set_result(conn, self.run_id, self.token, result).await?)
    }

    /// Shows how far the run is. Never fails the run: progress is for people.
    pub async fn progress(&self, done: i64, total: Option<i64>, unit: &str, phase: &str) {
        let Ok(mut conn) = self.env.pool.get().await else { return };
        let shown =
            super::queries::set_progress(&mut conn, self.run_id, self.token, done, total, unit, phase).await;
        if let Err(error) = shown {
            tracing::debug!(%error, "progress could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_that_do_not_count_lengthen_no_wait() {
        let seconds = |n| Duration::from_secs(n);
        const WAITS: &[Duration] =
            &[Duration::from_secs(5), Duration::from_secs(50), Duration::from_secs(500)];
        let retry = Retry::Fixed(WAITS);
        assert_eq!(retry.max_attempts(), 4);
        // Attempt, and the most that the run may have: one more for each snooze, shutdown and death.
        for (attempt, most, wait) in
            [(1, 4, 5), (2, 4, 50), (3, 4, 500), (4, 7, 5), (5, 7, 50), (9, 12, 5), (1, 12, 5)]
        {
            assert_eq!(retry.delay(retry.counted(attempt, most), 0.5), seconds(wait), "{attempt} of {most}");
        }
    }
}
