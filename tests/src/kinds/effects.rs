//! Kinds whose effects are rows. Their table has no key: an effect that happens twice is there twice.

use diesel::sql_types::{BigInt, Integer, Uuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{
    ids::RunId,
    runs::{
        EnqueueOptions, Finished, Job, JobError, Queue, Retry, RunContext, RunError, Unique,
        enqueue_children, job::Closed,
    },
};
use std::time::Duration;

/// Makes the table that the effects go into; a test's database gets it when it is made.
pub const TABLE: &str = "CREATE TABLE chaos_effects (
    run_id uuid NOT NULL, n bigint NOT NULL, attempt integer NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())";

/// Outlasts any series of outages: an attempt in which the database is away counts as failed.
pub const STUBBORN: Retry = Retry::Exponential {
    max_attempts: 200,
    first: Duration::from_millis(50),
    cap: Duration::from_millis(1000),
};

const TIMEOUT: Duration = Duration::from_secs(60);

/// Rows that a completed run of each kind has left, as SQL over `runs`. What a scheduler enqueues
/// meanwhile, because its time has come, leaves none.
pub const EXPECTED_ROWS: &str = "CASE
    WHEN kind = 'copying' THEN (args->>'steps')::bigint * (args->>'rows')::bigint
    WHEN kind IN ('light', 'slow', 'flaky', 'dozing', 'collect', 'scatter', 'alone') THEN 1
    ELSE 0 END";

/// One effect, in the transaction that closes the run.
pub async fn effect(context: &RunContext, n: i64) -> Result<Finished, JobError> {
    let mut pooled = context.connection().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let closed: Result<Closed, RunError> =
        conn.transaction(async move |conn| leave_effect(conn, context, n).await).await;
    Ok(closed?.into())
}

async fn leave_effect(
    conn: &mut AsyncPgConnection,
    context: &RunContext,
    n: i64,
) -> Result<Closed, RunError> {
    diesel::sql_query("INSERT INTO chaos_effects (run_id, n, attempt) VALUES ($1, $2, $3)")
        .bind::<Uuid, _>(context.run_id)
        .bind::<BigInt, _>(n)
        .bind::<Integer, _>(context.attempt)
        .execute(conn)
        .await?;
    context.complete(conn, &serde_json::json!({ "attempt": context.attempt })).await
}

/// Sleeps, unless the run is to stop.
async fn pause(context: &RunContext, ms: u64) -> Result<(), JobError> {
    tokio::select! {
        () = context.cancel.cancelled() => Err(JobError::Cancelled),
        () = tokio::time::sleep(Duration::from_millis(ms)) => Ok(()),
    }
}

/// One effect at once, in the light queue.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Light {}

/// One effect after a while.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Slow {
    /// How long.
    pub ms: u64,
}

/// One effect after some failed attempts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Flaky {
    /// How many.
    pub failures: i32,
}

/// One effect after some snoozes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Dozing {
    /// How many.
    pub snoozes: i32,
    /// How long each.
    pub ms: u64,
}

/// Many effects by COPY, on a connection of its own; all of them and "done" in one commit.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Copying {
    /// COPY statements.
    pub steps: i64,
    /// Rows of each.
    pub rows: i64,
    /// How long each statement stands open, half written.
    pub ms: u64,
}

/// The root of a flow: one effect, after its children.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Collect {}

/// The first step of a flow: adds the others in the transaction of its effect.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Scatter {
    /// How many it adds.
    pub children: usize,
}

/// One effect after a while; one at a time for a key, until it has ended.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Alone {
    /// What it is unique by.
    pub key: String,
    /// How long.
    pub ms: u64,
}

impl Job for Light {
    const KIND: &'static str = "light";
    const QUEUE: Queue = Queue::Light;
    const RETRY: Retry = STUBBORN;
    const TIMEOUT: Duration = TIMEOUT;

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        effect(&context, 0).await
    }
}

impl Job for Slow {
    const KIND: &'static str = "slow";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = STUBBORN;
    const TIMEOUT: Duration = TIMEOUT;

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        pause(&context, self.ms).await?;
        effect(&context, 0).await
    }
}

impl Job for Flaky {
    const KIND: &'static str = "flaky";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = STUBBORN;
    const TIMEOUT: Duration = TIMEOUT;

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        if context.attempt <= self.failures {
            return Err(JobError::retry(anyhow::anyhow!("attempt {} is to fail", context.attempt)));
        }
        effect(&context, 0).await
    }
}

impl Job for Dozing {
    const KIND: &'static str = "dozing";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = STUBBORN;
    const TIMEOUT: Duration = TIMEOUT;

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        if context.attempt <= self.snoozes {
            return Ok(Finished::Snooze(Duration::from_millis(self.ms)));
        }
        effect(&context, 0).await
    }
}

impl Job for Copying {
    const KIND: &'static str = "copying";
    const QUEUE: Queue = Queue::Ingest;
    const RETRY: Retry = STUBBORN;
    const TIMEOUT: Duration = TIMEOUT;

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let mut client = context.env.load_connections.take("").await.map_err(JobError::retry)?;
        let transaction = client.transaction().await.map_err(JobError::retry)?;
        for step in 0..self.steps {
            self.copy(&context, &transaction, step).await?;
        }
        let result = serde_json::json!({ "attempt": context.attempt });
        // A crash before the commit takes the rows back, after it the run is done.
        let closed = context.complete_copy(&transaction, &result).await.map_err(JobError::retry)?;
        transaction.commit().await.map_err(JobError::retry)?;
        context.env.load_connections.put_back(client);
        Ok(closed.into())
    }
}

impl Copying {
    /// Stands still in mid-statement, so that whatever happens to the worker often happens there.
    async fn copy(
        &self,
        context: &RunContext,
        transaction: &tokio_postgres::Transaction<'_>,
        step: i64,
    ) -> Result<(), JobError> {
        use futures::SinkExt;
        let statement = "COPY chaos_effects (run_id, n, attempt) FROM STDIN";
        let sink = transaction.copy_in::<_, bytes::Bytes>(statement).await.map_err(JobError::retry)?;
        let mut sink = Box::pin(sink);
        for row in 0..self.rows {
            if row == self.rows / 2 {
                sink.flush().await.map_err(JobError::retry)?;
                pause(context, self.ms).await?;
            }
            let line = format!("{}\t{}\t{}\n", context.run_id, step * self.rows + row, context.attempt);
            sink.send(line.into()).await.map_err(JobError::retry)?;
        }
        sink.as_mut().finish().await.map(|_| ()).map_err(JobError::retry)
    }
}

impl Job for Collect {
    const KIND: &'static str = "collect";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = STUBBORN;
    const TIMEOUT: Duration = TIMEOUT;

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        effect(&context, 0).await
    }
}

impl Job for Scatter {
    const KIND: &'static str = "scatter";
    const QUEUE: Queue = Queue::Light;
    const RETRY: Retry = STUBBORN;
    const TIMEOUT: Duration = TIMEOUT;

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let parent: RunId = context
            .parent_id
            .ok_or_else(|| JobError::fail(anyhow::anyhow!("scatter is a step of a flow")))?;
        let children = vec![Light {}; self.children];
        let mut pooled = context.connection().await?;
        let conn: &mut AsyncPgConnection = &mut pooled;
        let closed: Result<Closed, RunError> = conn
            .transaction(async |conn| {
                // Children are locked before parents; closing first would let the parent go on.
                context.hold(conn).await?;
                enqueue_children(conn, parent, &children, &EnqueueOptions::by("scatter")).await?;
                leave_effect(conn, &context, 0).await
            })
            .await;
        let closed = closed?;
        context.env.doorbells.ring(Queue::Light, self.children as u64);
        Ok(closed.into())
    }
}

impl Job for Alone {
    const KIND: &'static str = "alone";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = STUBBORN;
    const TIMEOUT: Duration = TIMEOUT;

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: self.key.clone(), states: Unique::UNTIL_FINISHED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        pause(&context, self.ms).await?;
        effect(&context, 0).await
    }
}
