//! The job that settles a trade.

use super::settlement;
use crate::{
    ids::TradeId,
    runs::{Finished, Job, JobError, Queue, Retry, RunContext},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Settles a trade, or rejects it for a reason; together with the others that a worker has claimed. Cancelling it
/// rejects the trade.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SettleTrade {
    /// Which.
    pub trade_id: TradeId,
}

impl Job for SettleTrade {
    const KIND: &'static str = "settle_trade";
    const QUEUE: Queue = Queue::Light;
    const RETRY: Retry =
        Retry::Exponential { max_attempts: 10, first: Duration::from_secs(1), cap: Duration::from_secs(300) };
    const TIMEOUT: Duration = Duration::from_secs(120);
    const UNCLONABLE: Option<&'static str> =
        Some("A trade is settled once. To trade again, place another order.");

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        settlement::settle(&context, self.trade_id).await.map(Finished::from)
    }
}
