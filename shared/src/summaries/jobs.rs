//! Jobs that keep summaries.

use super::{queries, rebuild, verify};
use crate::runs::{
    EnqueueOptions, Enqueued, Finished, Job, JobError, Queue, Retry, RunContext, RunError, Unique, enqueue,
};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::QueryResult;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Between the end of a load and the refresh that it asks for: loads that end meanwhile share it.
const AFTER_LOADS: TimeDelta = TimeDelta::seconds(2);
const RETRY: Retry =
    Retry::Exponential { max_attempts: 5, first: Duration::from_secs(2), cap: Duration::from_secs(300) };

/// Asks for a refresh in the caller's transaction, which should end soon: the run that stands for it. One that
/// waits serves all who ask; one that runs serves them by another attempt.
pub async fn ask_for_refresh(
    conn: &mut AsyncPgConnection,
    options: &EnqueueOptions,
) -> Result<Enqueued, RunError> {
    // First: a refresh that is about to end waits for this transaction, or has ended before the next line looks.
    queries::want_refresh(conn).await?;
    enqueue(conn, &RefreshClientSummary {}, options).await
}

/// Asks for a refresh soon, on behalf of `by`.
pub async fn refresh_soon(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    by: &str,
) -> Result<(), RunError> {
    let options = EnqueueOptions { run_at: Some(now + AFTER_LOADS), ..EnqueueOptions::by(by) };
    conn.transaction(async |conn| ask_for_refresh(conn, &options).await).await.map(drop)
}

/// Refreshes `client_transaction_summary` in the caller's transaction, for a step that must not end before it shows
/// what was committed when the transaction began; as of when it is now. Who has asked for a refresh meanwhile is
/// served by another.
pub(crate) async fn refresh_within(conn: &mut AsyncPgConnection) -> QueryResult<Option<DateTime<Utc>>> {
    queries::refresh(conn).await?;
    queries::refreshed_at(conn).await
}

/// Refreshes `client_transaction_summary` without blocking its readers. One at a time; what it has begun to
/// read does not show what commits now, so it runs once more if somebody has asked meanwhile.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RefreshClientSummary {}

impl Job for RefreshClientSummary {
    const KIND: &'static str = "refresh_client_summary";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = RETRY;
    const TIMEOUT: Duration = Duration::from_secs(3600);
    const PRIORITY: i16 = 200;

    fn start<'a>(
        self,
        conn: &'a mut AsyncPgConnection,
        options: &'a EnqueueOptions,
    ) -> BoxFuture<'a, Result<Enqueued, RunError>> {
        Box::pin(ask_for_refresh(conn, options))
    }

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: String::new(), states: Unique::UNTIL_FINISHED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let mut conn = context.connection().await?;
        let conn: &mut AsyncPgConnection = &mut conn;
        queries::begin_refresh(conn).await?;
        let closed = conn
            .transaction::<_, RunError, _>(async |conn| {
                if queries::refresh(conn).await? {
                    return Ok(None);
                }
                context.complete(conn, &serde_json::json!({})).await.map(Some)
            })
            .await?;
        Ok(closed.map_or(Finished::Snooze(Duration::ZERO), Finished::from))
    }
}

/// Mends every kept total from the rows, in place. What it may not have looked at when somebody else asks
/// for it is what commits meanwhile, and that is right by itself: one at a time is enough.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RebuildSummaries {
    /// Whether every total is written, or those that are wrong.
    #[serde(default)]
    pub truncate: bool,
}

impl Job for RebuildSummaries {
    const KIND: &'static str = "rebuild_summaries";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = RETRY;
    const TIMEOUT: Duration = Duration::from_secs(6 * 3600);

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: String::new(), states: Unique::UNTIL_FINISHED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        rebuild::rebuild(self.truncate, context).await
    }
}

/// Compares every kept total with the rows; fails if one differs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct VerifySummaries {}

impl Job for VerifySummaries {
    const KIND: &'static str = "verify_summaries";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = RETRY;
    const TIMEOUT: Duration = Duration::from_secs(6 * 3600);
    const PRIORITY: i16 = 200;

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: String::new(), states: Unique::UNTIL_FINISHED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        verify::verify(context).await
    }
}
