//! Jobs that keep summaries.

use crate::runs::{
    EnqueueOptions, Finished, Job, JobError, Queue, Retry, RunContext, RunError, Unique, enqueue,
};
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Between the end of a load and the refresh that it asks for: loads that end meanwhile share it.
const AFTER_LOADS: TimeDelta = TimeDelta::seconds(2);

/// Asks for a refresh soon, on behalf of `by`.
pub async fn refresh_soon(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    by: &str,
) -> Result<(), RunError> {
    let options = EnqueueOptions { run_at: Some(now + AFTER_LOADS), ..EnqueueOptions::by(by) };
    enqueue(conn, &RefreshClientSummary {}, &options).await.map(drop)
}

/// Refreshes `client_transaction_summary` without blocking its readers. Unique until it starts: a
/// refresh that has started does not show what commits now, so another must be allowed to wait.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RefreshClientSummary {}

impl Job for RefreshClientSummary {
    const KIND: &'static str = "refresh_client_summary";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry =
        Retry::Exponential { max_attempts: 5, first: Duration::from_secs(2), cap: Duration::from_secs(300) };
    const TIMEOUT: Duration = Duration::from_secs(3600);
    const PRIORITY: i16 = 200;

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: String::new(), states: Unique::UNTIL_STARTED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let mut conn = context.connection().await?;
        let conn: &mut AsyncPgConnection = &mut conn;
        let closed = conn
            .transaction(async |conn| {
                diesel::sql_query("REFRESH MATERIALIZED VIEW CONCURRENTLY client_transaction_summary")
                    .execute(conn)
                    .await?;
                context.complete(conn, &serde_json::json!({})).await
            })
            .await?;
        Ok(closed.into())
    }
}
