//! Kinds of runs for tests: [`Obey`] ends in every way a run can end, attempt by attempt, as its
//! arguments order; the others wait for children, exclude each other, do nothing. Those of `effects`
//! leave rows that show what happened once, twice or not at all.

pub mod effects;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use effects::effect;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::runs::{Finished, Job, JobError, Queue, Retry, RunContext, RunError, Unique, registry::Kind};
use std::time::Duration;

/// Does what it is told, attempt by attempt, and succeeds when nothing is ordered. An order is a word
/// and, where it takes time, milliseconds: `snooze 200`.
/// - ends well: `succeed` (closed in its own transaction), `answer` (closed by the engine with a
///   result), `effect` (a row of [`effects::TABLE`] in the closing transaction), `linger MS` (the same
///   after so long, whether asked to stop or not), `chat N` (after so many lines of log)
/// - ends badly: `retry`, `retry-after MS`, `fail`, `panic`, `exit` and `abort` (the whole process)
/// - does not end by itself: `hang`, `hold` (the run's row, in an open transaction), `wait` (until it is
///   asked to stop), `block MS` (the thread, whatever it is asked)
/// - `snooze MS`: not now
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Obey {
    /// One for each attempt.
    pub orders: Vec<String>,
}

impl Obey {
    /// With these orders.
    pub fn new(orders: &[&str]) -> Self {
        Self { orders: orders.iter().map(|&order| order.to_owned()).collect() }
    }
}

/// A parent of other runs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Gather {}

/// Waits to be stopped; one at a time for a key, until it starts.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Only {
    /// What it is unique by.
    pub key: String,
}

/// Does nothing, in the light queue.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Noop {}

/// Answers with the microsecond at which it began (since 1970, by the machine's clock).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Stamp {}

shared::job_registry! {
    /// The kinds of the tests.
    pub static KINDS = [
        Obey, Gather, Only, Noop, Stamp,
        effects::Light, effects::Slow, effects::Flaky, effects::Dozing, effects::Copying, effects::Collect,
        effects::Scatter, effects::Alone,
    ];
}

/// The kinds of the tests, and Millrace's own.
pub fn all() -> &'static [Kind] {
    static ALL: std::sync::OnceLock<Vec<Kind>> = std::sync::OnceLock::new();
    ALL.get_or_init(|| KINDS.iter().chain(shared::runs::registry::KINDS).copied().collect())
}

impl Job for Obey {
    const KIND: &'static str = "obey";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = Retry::Fixed(&[Duration::from_millis(10), Duration::from_millis(10)]);
    const TIMEOUT: Duration = Duration::from_secs(2);

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let attempt = usize::try_from(context.attempt).unwrap_or(1) - 1;
        let order = self.orders.get(attempt).map_or("succeed", String::as_str);
        let (word, number) = order.split_once(' ').unwrap_or((order, "0"));
        let time = Duration::from_millis(number.parse().map_err(JobError::fail)?);
        match word {
            "succeed" => {
                let conn = &mut *context.connection().await?;
                tracing::info!("obeyed");
                Ok(context.complete(conn, &serde_json::json!({ "attempt": context.attempt })).await?.into())
            }
            "chat" => {
                (1..=time.as_millis()).for_each(|number| tracing::info!("word {number}"));
                Ok(Finished::Result(serde_json::Value::Null))
            }
            "answer" => Ok(Finished::Result(serde_json::json!("answered"))),
            "effect" => effect(&context, 0).await,
            "linger" => {
                tokio::time::sleep(time).await;
                effect(&context, 0).await
            }
            "retry" => Err(JobError::retry(anyhow::anyhow!("not yet \0 42"))),
            "retry-after" => Err(JobError::RetryAfter(anyhow::anyhow!("later"), time)),
            "fail" => Err(JobError::fail(anyhow::anyhow!("never"))),
            "panic" => panic!("out of \"order\" {attempt}"),
            "exit" => std::process::exit(3),
            "abort" => std::process::abort(),
            "hang" => std::future::pending().await,
            "hold" => {
                let mut pooled = context.connection().await?;
                let conn: &mut AsyncPgConnection = &mut pooled;
                let held: Result<(), RunError> = conn
                    .transaction(async |conn| {
                        context.hold(conn).await?;
                        tracing::info!("held");
                        std::future::pending().await
                    })
                    .await;
                held.map(|()| Finished::Result(serde_json::Value::Null)).map_err(Into::into)
            }
            "wait" => {
                context.cancel.cancelled().await;
                Err(JobError::Cancelled)
            }
            "block" => {
                std::thread::sleep(time);
                effect(&context, 0).await
            }
            "snooze" => Ok(Finished::Snooze(time)),
            _ => panic!("unknown order {order}"),
        }
    }
}

impl Job for Gather {
    const KIND: &'static str = "gather";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = Retry::Never;
    const TIMEOUT: Duration = Duration::from_secs(10);

    async fn run(self, _context: RunContext) -> Result<Finished, JobError> {
        Ok(Finished::Result(serde_json::json!("gathered")))
    }
}

impl Job for Only {
    const KIND: &'static str = "only";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = Retry::Never;
    const TIMEOUT: Duration = Duration::from_secs(10);

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: self.key.clone(), states: Unique::UNTIL_STARTED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        context.cancel.cancelled().await;
        Err(JobError::Cancelled)
    }
}

impl Job for Noop {
    const KIND: &'static str = "noop";
    const QUEUE: Queue = Queue::Light;
    const RETRY: Retry = effects::STUBBORN;
    const TIMEOUT: Duration = Duration::from_secs(10);

    async fn run(self, _context: RunContext) -> Result<Finished, JobError> {
        Ok(Finished::Result(serde_json::Value::Null))
    }
}

impl Job for Stamp {
    const KIND: &'static str = "stamp";
    const QUEUE: Queue = Queue::Light;
    const RETRY: Retry = Retry::Never;
    const TIMEOUT: Duration = Duration::from_secs(10);

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        Ok(Finished::Result(context.env.clock.now().timestamp_micros().into()))
    }
}
