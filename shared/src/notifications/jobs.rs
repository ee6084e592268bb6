//! The jobs that send deliveries, one kind a channel: each has its own retries, and is paused by itself.

use super::{delivery, events, model::Channel, queries};
use crate::{
    ids::DeliveryId,
    runs::{Finished, Job, JobError, Queue, Retry, RunContext, Unique},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

macro_rules! deliveries {
    ($($(#[$doc:meta])* $name:ident = $kind:literal, $channel:ident, [$($wait:expr),+];)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
        pub struct $name {
            /// Which.
            pub delivery_id: DeliveryId,
        }

        impl Job for $name {
            const KIND: &'static str = $kind;
            const QUEUE: Queue = Queue::Deliveries;
            const RETRY: Retry = Retry::Spread(&[$($wait),+]);
            const TIMEOUT: Duration = minutes(5);
            const EXTERNAL: bool = true;
            const UNCLONABLE: Option<&'static str> =
                Some("A delivery is sent once. To send it again, replay it on its notification's page.");

            async fn run(self, context: RunContext) -> Result<Finished, JobError> {
                delivery::deliver(&context, self.delivery_id, Channel::$channel).await
            }
        }
    )+};
}

// The triggers on `runs` know these kinds by their beginning, `deliver_`.
deliveries! {
    /// Sends an e-mail.
    DeliverEmail = "deliver_email", Email,
        [minutes(1), minutes(5), minutes(15), minutes(60), minutes(240), minutes(720)];
    /// Sends a text message.
    DeliverSms = "deliver_sms", Sms, [seconds(30), minutes(2), minutes(10), minutes(30), minutes(60)];
    /// Sends a Telegram message.
    DeliverTelegram = "deliver_telegram", Telegram, [seconds(10), minutes(1), minutes(5), minutes(30), minutes(120)];
    /// Calls a webhook.
    DeliverWebhook = "deliver_webhook", Webhook,
        [seconds(5), minutes(5), minutes(30), minutes(120), minutes(300), minutes(600), minutes(600)];
}

/// Makes notifications of what has happened since it ran last, for those who want to know.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct AnnounceEvents {}

impl Job for AnnounceEvents {
    const KIND: &'static str = "announce_events";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = Retry::Exponential { max_attempts: 10, first: seconds(1), cap: minutes(5) };
    const TIMEOUT: Duration = minutes(10);

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: String::new(), states: Unique::UNTIL_FINISHED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let told = events::announce(&context).await?;
        Ok(Finished::Result(serde_json::to_value(told).map_err(JobError::fail)?))
    }
}

/// Removes notifications that were made longer ago than they are kept, with their deliveries and attempts; those
/// that are still to be sent, or to be decided about, stay.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct PruneNotifications {}

impl Job for PruneNotifications {
    const KIND: &'static str = "prune_notifications";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = Retry::Exponential { max_attempts: 5, first: seconds(1), cap: minutes(1) };
    const TIMEOUT: Duration = minutes(60);
    const PRIORITY: i16 = 200;

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: String::new(), states: Unique::UNTIL_FINISHED })
    }

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        let keep_days = context.env.notifications.keep_days;
        let mut deleted = 0;
        if keep_days == 0 {
            return Ok(Finished::Result(serde_json::json!({ "notifications": deleted })));
        }
        loop {
            if context.cancel.is_cancelled() {
                return Err(JobError::Cancelled);
            }
            let conn = &mut *context.connection().await?;
            let some = queries::prune(conn, keep_days).await?;
            if some == 0 {
                return Ok(Finished::Result(serde_json::json!({ "notifications": deleted })));
            }
            deleted += some;
            context.progress(deleted, None, "notifications", "deleting").await;
        }
    }
}
