//! The job that deletes all transactions.

use super::deleting;
use crate::{
    ids::DeletionId,
    runs::{Finished, Job, JobError, Queue, Retry, RunContext, Unique},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Deletes all transactions but those of settled trades, if somebody asked for it within the last hour and
/// nobody has done it. Can neither be cloned nor put on a clock.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct DeleteTransactions {
    /// The request.
    pub deletion_id: DeletionId,
}

impl Job for DeleteTransactions {
    const KIND: &'static str = "delete_transactions";
    const QUEUE: Queue = Queue::Control;
    const RETRY: Retry =
        Retry::Exponential { max_attempts: 5, first: Duration::from_secs(1), cap: Duration::from_secs(60) };
    const TIMEOUT: Duration = Duration::from_secs(3600);
    // Nobody is to find the rows gone long after having asked.
    const START_WITHIN: Option<Duration> = Some(Duration::from_secs(600));
    const UNCLONABLE: Option<&'static str> = Some("it is asked for, and confirmed, each time anew");

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: String::new(), states: Unique::UNTIL_FINISHED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        deleting::delete(self.deletion_id, context).await
    }
}
