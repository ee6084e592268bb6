//! The job that proves the ledger.

use super::verify;
use crate::runs::{Finished, Job, JobError, Queue, Retry, RunContext, Unique};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Proves that positions, holdings, stocks and trades are what the ledger's entries add up to; fails, and names
/// the first wrong entry, if they are not.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct VerifyLedger {}

impl Job for VerifyLedger {
    const KIND: &'static str = "verify_ledger";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry =
        Retry::Exponential { max_attempts: 5, first: Duration::from_secs(2), cap: Duration::from_secs(300) };
    const TIMEOUT: Duration = Duration::from_secs(6 * 3600);
    const PRIORITY: i16 = 200;

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: String::new(), states: Unique::UNTIL_FINISHED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        verify::verify(context).await
    }
}
