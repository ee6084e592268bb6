//! The job kinds there are. A kind that is not listed here cannot be enqueued: the list also
//! implements [`Registered`], which [`super::enqueue`] requires.

use super::{
    error::RunError,
    job::{Finished, Job, JobError, Queue, Retry, RunContext, Unique},
    service::{EnqueueOptions, Enqueued},
};
use diesel_async::AsyncPgConnection;
use futures::future::BoxFuture;
use serde_json::Value;
use std::time::Duration;

/// Kinds that a worker knows.
pub trait Registered: Job {
    /// Its kind. In one place, not made anew by whoever begins a run: that would compile the handler there as well.
    fn kind() -> &'static Kind;
}

/// Begins a run of a kind in the caller's transaction.
pub type Start = for<'a> fn(
    Value,
    &'a mut AsyncPgConnection,
    &'a EnqueueOptions,
) -> BoxFuture<'a, Result<Enqueued, RunError>>;

/// A kind, without its type.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Its stable name.
    pub name: &'static str,
    /// Where its runs wait.
    pub queue: Queue,
    /// What follows a failed attempt.
    pub retry: Retry,
    /// An attempt is ended after this time.
    pub timeout: Duration,
    /// Lower runs first.
    pub priority: i16,
    /// A run that has not begun within this time of becoming due is discarded.
    pub start_within: Option<Duration>,
    /// After this time since its first attempt, a failed attempt is the last.
    pub give_up_after: Option<Duration>,
    /// Whether its effects are outside PostgreSQL.
    pub external: bool,
    /// Why its runs cannot be cloned, if they cannot.
    pub unclonable: Option<&'static str>,
    /// Whether it begins together with the steps that it waits for.
    pub recipe: bool,
    /// Begins a run, with its steps if it is a recipe.
    pub start: Start,
    /// The JSON schema of its arguments.
    pub schema: fn() -> Value,
    /// Reads arguments that somebody wrote by hand.
    pub read: fn(Value) -> Result<Arguments, ArgumentError>,
    /// Reads the arguments and runs the handler.
    pub handler: fn(Value, RunContext) -> BoxFuture<'static, Result<Finished, JobError>>,
}

/// Arguments that a kind accepts, in its own spelling.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// As they are stored.
    pub args: Value,
    /// The key by which runs exclude each other, if they do.
    pub unique: Option<Unique>,
}

/// Arguments that a kind refuses.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}{message}", if path == "." { String::new() } else { format!("{path}: ") })]
pub struct ArgumentError {
    /// The argument, with dots between levels; `.` for all of them.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

impl Kind {
    /// The kind of a job type.
    pub const fn of<J: Registered>() -> Self {
        Self {
            name: J::KIND,
            queue: J::QUEUE,
            retry: J::RETRY,
            timeout: J::TIMEOUT,
            priority: J::PRIORITY,
            start_within: J::START_WITHIN,
            give_up_after: J::GIVE_UP_AFTER,
            external: J::EXTERNAL,
            unclonable: J::UNCLONABLE,
            recipe: J::RECIPE,
            start: start::<J>,
            schema: || schemars::schema_for!(J).to_value(),
            read: read::<J>,
            handler: handle::<J>,
        }
    }

    /// Why it cannot be put on a clock, if it cannot.
    pub fn unschedulable(&self) -> Option<&'static str> {
        self.unclonable.filter(|_| !self.recipe)
    }
}

fn start<'a, J: Registered>(
    args: Value,
    conn: &'a mut AsyncPgConnection,
    options: &'a EnqueueOptions,
) -> BoxFuture<'a, Result<Enqueued, RunError>> {
    match serde_json::from_value::<J>(args) {
        Ok(job) => job.start(conn, options),
        Err(error) => Box::pin(std::future::ready(Err(error.into()))),
    }
}

/// Reads arguments strictly: what the kind does not know is refused, not dropped.
fn read<J: Job>(given: Value) -> Result<Arguments, ArgumentError> {
    let job: J = serde_path_to_error::deserialize(&given).map_err(|error| ArgumentError {
        path: error.path().to_string(),
        message: error.into_inner().to_string(),
    })?;
    let written =
        |error: serde_json::Error| ArgumentError { path: ".".to_owned(), message: error.to_string() };
    let args = serde_json::to_value(&job).map_err(written)?;
    let known = args.as_object().into_iter().flat_map(|known| known.keys());
    let known: Vec<&str> = known.map(String::as_str).collect();
    let unknown = given.as_object().into_iter().flat_map(|given| given.keys());
    if let Some(unknown) = unknown.into_iter().find(|name| !known.contains(&name.as_str())) {
        let list = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!("{} has no such argument; it has: {list}", J::KIND);
        return Err(ArgumentError { path: unknown.clone(), message });
    }
    Ok(Arguments { unique: job.unique(), args })
}

fn handle<J: Job>(args: Value, context: RunContext) -> BoxFuture<'static, Result<Finished, JobError>> {
    Box::pin(async move {
        // Arguments that this version cannot read will not become readable by waiting.
        let job: J = serde_json::from_value(args).map_err(JobError::fail)?;
        job.run(context).await
    })
}

/// Lists job types; makes them [`Registered`] and gives the list a name.
#[macro_export]
macro_rules! job_registry {
    ($(#[$doc:meta])* $visibility:vis static $name:ident = [$($job:ty),+ $(,)?];) => {
        $(impl $crate::runs::registry::Registered for $job {
            fn kind() -> &'static $crate::runs::registry::Kind {
                static KIND: $crate::runs::registry::Kind = $crate::runs::registry::Kind::of::<$job>();
                &KIND
            }
        })+
        $(#[$doc])*
        $visibility static $name: &[$crate::runs::registry::Kind] = &[$($crate::runs::registry::Kind::of::<$job>()),+];
    };
}

job_registry! {
    /// Every kind of Millrace, one line each.
    pub static KINDS = [
        crate::uploads::jobs::PlanUpload,
        crate::uploads::jobs::IngestChunk,
        crate::uploads::jobs::CheckChunk,
        crate::uploads::jobs::BeginLoading,
        crate::uploads::jobs::UndoUpload,
        crate::uploads::jobs::FinishUpload,
        crate::uploads::prune::PruneFiles,
        crate::uploads::etl::RunEtl,
        crate::uploads::etl::EtlTransactions,
        crate::uploads::etl::EtlClients,
        crate::synthetic::jobs::GenerateData,
        crate::synthetic::jobs::GenerateFile,
        crate::synthetic::nightly::NightlyData,
        crate::synthetic::nightly::NightlyRefresh,
        crate::synthetic::nightly::NightlyGenerate,
        crate::summaries::jobs::RefreshClientSummary,
        crate::summaries::jobs::RebuildSummaries,
        crate::summaries::jobs::VerifySummaries,
        crate::trades::jobs::SettleTrade,
        crate::transactions::deletion::DeleteTransactions,
        crate::ledger::VerifyLedger,
        crate::schedules::jobs::BackfillSchedule,
        crate::notifications::jobs::DeliverEmail,
        crate::notifications::jobs::DeliverSms,
        crate::notifications::jobs::DeliverTelegram,
        crate::notifications::jobs::DeliverWebhook,
        crate::notifications::jobs::AnnounceEvents,
        crate::notifications::jobs::PruneNotifications,
        crate::notifications::daily::SendDailySummaries,
        super::jobs::RetryRuns,
        super::jobs::CancelRuns,
        super::jobs::PruneRuns,
        super::jobs::PruneRedis,
    ];
}
