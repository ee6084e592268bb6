//! The engine's own kinds: actions on many runs, and pruning.

use super::{
    Finished, Job, JobError, Queue, Retry, RunContext, RunError, Unique,
    queries::{self, RunFilter},
    service,
};
use crate::{
    ids::RunId,
    schedules,
    schema::{failures, workers},
};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

const RETRY: Retry =
    Retry::Exponential { max_attempts: 5, first: Duration::from_secs(1), cap: Duration::from_secs(60) };
/// Runs that are looked up at once.
const PAGE: i64 = 500;

/// Which runs an action is meant for.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// These.
    Ids(Vec<RunId>),
    /// All that a filter lets through.
    Matching(RunFilter),
}

/// Retries the selected runs that had ended badly when it was asked for; of flows only what failed. One
/// that fails anew meanwhile is not retried twice.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RetryRuns {
    /// Which.
    pub runs: Selection,
    /// Only what had ended before.
    pub ended_before: DateTime<Utc>,
}

/// Cancels the selected runs that have not ended.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct CancelRuns {
    /// Which.
    pub runs: Selection,
}

/// Deletes old runs, workers and failures, a window at a time.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PruneRuns {}

/// Removes what apalis keeps in Redis of messages that were attended to and of workers that are gone. Nothing is
/// lost by it: messages only say that there is work.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PruneRedis {}

/// What an action on many runs did; read = changed + skipped.
#[derive(Debug, Default, Serialize)]
struct Done {
    changed: i64,
    skipped: i64,
    /// How many of them were skipped for which reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    reasons: BTreeMap<&'static str, i64>,
}

/// Why an action skipped a run.
fn reason(error: &RunError) -> Option<&'static str> {
    match error {
        RunError::Transition(_) => Some("in another state by then"),
        RunError::NotFound(_) => Some("gone by then"),
        RunError::Superseded(_) => Some("the same file was uploaded again"),
        RunError::UploadUndone => Some("the upload was undone, or is being"),
        RunError::FileRefused => Some("the file has faults and is loaded whole or not at all"),
        _ => None,
    }
}

impl Selection {
    /// Matching runs after `after`, oldest first.
    async fn page(
        &self,
        conn: &mut AsyncPgConnection,
        ended_before: Option<DateTime<Utc>>,
        after: RunId,
    ) -> QueryResult<Vec<RunId>> {
        match self {
            Self::Matching(filter) => queries::matching(conn, filter, ended_before, after, PAGE).await,
            Self::Ids(ids) => {
                let mut rest: Vec<RunId> = ids.iter().copied().filter(|&id| id > after).collect();
                rest.sort_unstable();
                rest.dedup();
                rest.truncate(PAGE as usize);
                Ok(rest)
            }
        }
    }

    /// How many runs an action would look at.
    pub async fn count(
        &self,
        conn: &mut AsyncPgConnection,
        ended_before: Option<DateTime<Utc>>,
    ) -> QueryResult<i64> {
        match self {
            Self::Matching(filter) => queries::count_matching(conn, filter, ended_before).await,
            Self::Ids(ids) => Ok(ids.len() as i64),
        }
    }
}

/// What is done with each.
#[derive(Clone, Copy)]
enum Action {
    /// Retry, if it had ended before.
    Retry(DateTime<Utc>),
    Cancel,
}

impl Action {
    fn ended_before(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Retry(time) => Some(time),
            Self::Cancel => None,
        }
    }

    /// Does it in a transaction of its own; false if it was not needed.
    async fn apply(
        self,
        context: &RunContext,
        conn: &mut AsyncPgConnection,
        id: RunId,
    ) -> Result<bool, RunError> {
        match self {
            Self::Retry(before) => {
                let run = queries::find_run(conn, id).await?.ok_or(RunError::NotFound(id))?;
                if run.finished_at.is_none_or(|finished| finished >= before) {
                    return Ok(false);
                }
                Ok(service::retry_run(conn, id, context.env.kinds).await? == id)
            }
            Self::Cancel => {
                conn.transaction(async move |conn| service::cancel_run(conn, id).await).await.map(|_| true)
            }
        }
    }
}

/// Applies an action to each selected run. Run again after a crash, it goes over the same runs and finds
/// those that are done in a state that refuses.
async fn apply_to_all(context: &RunContext, runs: &Selection, action: Action) -> Result<Finished, JobError> {
    let ended_before = action.ended_before();
    let mut pooled = context.connection().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let total = runs.count(conn, ended_before).await.map_err(JobError::retry)?;
    let (mut done, mut after) = (Done::default(), RunId(uuid::Uuid::nil()));
    loop {
        let page = runs.page(conn, ended_before, after).await.map_err(JobError::retry)?;
        let Some(&last) = page.last() else { break };
        after = last;
        // Of the page's runs, the steps of a flow may go with their root before it is their turn.
        for id in page.into_iter().filter(|&id| id != context.run_id) {
            if context.cancel.is_cancelled() {
                return Err(JobError::Cancelled);
            }
            let reason = match action.apply(context, conn, id).await {
                Ok(true) => {
                    done.changed += 1;
                    continue;
                }
                Ok(false) => "ended after it was asked for, or another run stands for it",
                Err(error) => match reason(&error) {
                    Some(reason) => reason,
                    None => return Err(error.into()),
                },
            };
            done.skipped += 1;
            *done.reasons.entry(reason).or_default() += 1;
        }
        context.progress(done.changed + done.skipped, Some(total), "runs", "").await;
        Queue::ALL.iter().for_each(|&queue| context.env.doorbells.ring(queue, PAGE as u64));
    }
    tracing::info!(changed = done.changed, skipped = done.skipped, "{} runs were changed", done.changed);
    Ok(Finished::Result(serde_json::to_value(done).map_err(JobError::fail)?))
}

impl Job for RetryRuns {
    const KIND: &'static str = "retry_runs";
    const QUEUE: Queue = Queue::Control;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&'static str> = Some("ask for the action anew, so that its filter is checked");
    const TIMEOUT: Duration = Duration::from_secs(3600);

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        apply_to_all(&context, &self.runs, Action::Retry(self.ended_before)).await
    }
}

impl Job for CancelRuns {
    const KIND: &'static str = "cancel_runs";
    const QUEUE: Queue = Queue::Control;
    const RETRY: Retry = RETRY;
    const UNCLONABLE: Option<&'static str> = Some("ask for the action anew, so that its filter is checked");
    const TIMEOUT: Duration = Duration::from_secs(3600);

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        apply_to_all(&context, &self.runs, Action::Cancel).await
    }
}

impl Job for PruneRuns {
    const KIND: &'static str = "prune_runs";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = RETRY;
    const TIMEOUT: Duration = Duration::from_secs(3600);
    const PRIORITY: i16 = 200;

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: String::new(), states: Unique::UNTIL_FINISHED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let mut pooled = context.connection().await?;
        let conn: &mut AsyncPgConnection = &mut pooled;
        let (retention, now) = (context.env.retention, context.env.clock.now());
        let time = |days: u32| match days {
            0 => DateTime::UNIX_EPOCH,
            days => now - chrono::Days::new(days.into()),
        };
        let (completed, failed) = (time(retention.completed_days), time(retention.failed_days));
        let (mut after, mut deleted) = (Some(RunId(uuid::Uuid::nil())), 0);
        while let Some(from) = after {
            if context.cancel.is_cancelled() {
                return Err(JobError::Cancelled);
            }
            let window = queries::prune(conn, from, completed, failed).await.map_err(JobError::retry)?;
            deleted += window.deleted;
            after = window.next_after;
            context.progress(deleted, None, "runs", "deleting").await;
        }
        let workers = diesel::delete(workers::table.filter(diesel::dsl::sql::<diesel::sql_types::Bool>(
            "state <> 'alive' AND last_seen < now() - interval '7 days'
             AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.worker_id = workers.id AND r.state = 'running')",
        )))
        .execute(conn)
        .await
        .map_err(JobError::retry)?;
        let failures = diesel::delete(failures::table.filter(failures::last_seen.lt(failed)))
            .execute(conn)
            .await
            .map_err(JobError::retry)?;
        let ticks = schedules::queries::prune_ticks(conn).await.map_err(JobError::retry)?;
        let alerts = schedules::alerts::prune(conn).await.map_err(JobError::retry)?;
        Ok(Finished::Result(serde_json::json!({
            "runs": deleted, "workers": workers, "failures": failures, "ticks": ticks, "alerts": alerts,
        })))
    }
}

impl Job for PruneRedis {
    const KIND: &'static str = "prune_redis";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = RETRY;
    const TIMEOUT: Duration = Duration::from_secs(300);
    const PRIORITY: i16 = 200;

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: String::new(), states: Unique::UNTIL_FINISHED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let workers = context.env.doorbells.sweep().await.map_err(JobError::Retry)?;
        Ok(Finished::Result(serde_json::json!({ "redis": workers.is_some(), "workers": workers })))
    }
}
