//! The job kinds there are. A kind that is not listed here cannot be enqueued: the list also
//! implements [`Registered`], which [`super::enqueue`] requires.

use super::job::{Finished, Job, JobError, Queue, Retry, RunContext};
use futures::future::BoxFuture;
use std::time::Duration;

/// Kinds that a worker knows.
pub trait Registered: Job {}

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
    /// Reads the arguments and runs the handler.
    pub handler: fn(serde_json::Value, RunContext) -> BoxFuture<'static, Result<Finished, JobError>>,
}

impl Kind {
    /// The kind of a job type.
    pub const fn of<J: Job>() -> Self {
        Self { name: J::KIND, queue: J::QUEUE, retry: J::RETRY, timeout: J::TIMEOUT, handler: handle::<J> }
    }
}

fn handle<J: Job>(
    args: serde_json::Value,
    context: RunContext,
) -> BoxFuture<'static, Result<Finished, JobError>> {
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
        $(impl $crate::runs::registry::Registered for $job {})+
        $(#[$doc])*
        $visibility static $name: &[$crate::runs::registry::Kind] = &[$($crate::runs::registry::Kind::of::<$job>()),+];
    };
}

job_registry! {
    /// Every kind of Millrace, one line each.
    pub static KINDS = [
        crate::uploads::jobs::PlanUpload,
        crate::uploads::jobs::IngestChunk,
        crate::uploads::jobs::FinishUpload,
        crate::summaries::jobs::RefreshClientSummary,
    ];
}
