//! Notifications, deliveries and attempts as JSON.

use super::words;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    ids::{DeliveryId, EndpointId, NotificationId, RunId},
    notifications::model::{
        Attempt, AttemptOutcome, Channel, Delivery, DeliveryState, Notification, NotificationState,
    },
};
use utoipa::ToSchema;

/// A message.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotificationView {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub id: NotificationId,
    /// What its deliveries are: `sent` if all were delivered, `partial` if some, `failed` if none;
    /// `suppressed` if its recipient wants none of them.
    #[schema(schema_with = words::notification_state)]
    pub state: NotificationState,
    /// The event that it tells of; null if somebody asked for it.
    pub event: Option<String>,
    /// The client that it is for.
    pub client_id: Option<String>,
    /// One line.
    pub title: String,
    /// Plain text.
    pub body: String,
    /// Not to be sent before.
    pub send_at: Option<DateTime<Utc>>,
    /// Who asked for it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

impl From<Notification> for NotificationView {
    fn from(notification: Notification) -> Self {
        Self {
            id: notification.id,
            state: notification.state,
            event: notification.event,
            client_id: notification.client_id,
            title: notification.title,
            body: notification.body,
            send_at: notification.send_at,
            created_by: notification.created_by,
            created_at: notification.created_at,
        }
    }
}

/// A message to one recipient over one channel.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryView {
    /// Its id; providers know it as the idempotency key, receivers of webhooks as `webhook-id`.
    #[schema(value_type = uuid::Uuid)]
    pub id: DeliveryId,
    /// Its message.
    #[schema(value_type = uuid::Uuid)]
    pub notification_id: NotificationId,
    /// Where it stands. `unknown`: it may have been accepted or not, and somebody has to decide.
    #[schema(schema_with = words::delivery_state)]
    pub state: DeliveryState,
    /// The channel.
    #[schema(schema_with = words::channel)]
    pub channel: Channel,
    /// A mailbox, a phone number, a chat's id, a URL.
    pub address: String,
    /// The client that it is for.
    pub client_id: Option<String>,
    /// The webhook's endpoint.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub endpoint_id: Option<EndpointId>,
    /// How often a provider was asked.
    pub attempts: i32,
    /// When a provider was asked last.
    pub last_attempt_at: Option<DateTime<Utc>>,
    /// When one is asked next, while it is pending; shown with one delivery or notification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was delivered, or given up.
    pub ended_at: Option<DateTime<Utc>>,
    /// The provider that was asked last.
    pub provider: Option<String>,
    /// What went wrong last.
    pub error_message: Option<String>,
    /// The run that sends it.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub run_id: Option<RunId>,
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id,
            notification_id: delivery.notification_id,
            state: delivery.state,
            channel: delivery.channel,
            address: delivery.address,
            client_id: delivery.client_id,
            endpoint_id: delivery.endpoint_id,
            attempts: delivery.attempts,
            last_attempt_at: delivery.last_attempt_at,
            next_attempt_at: None,
            ended_at: delivery.ended_at,
            provider: delivery.provider,
            error_message: delivery.error_message,
            run_id: delivery.run_id,
        }
    }
}

/// One time that a provider was asked.
#[derive(Debug, Serialize, ToSchema)]
pub struct AttemptView {
    /// Counted from 1.
    pub number: i32,
    /// Who was asked.
    pub provider: String,
    /// How it ended: `transient` and `throttled` are tried again, `permanent` is not; `unknown` may have been accepted.
    #[schema(schema_with = words::attempt_outcome)]
    pub outcome: AttemptOutcome,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: Option<i32>,
    /// Of HTTP or SMTP.
    pub status_code: Option<i32>,
    /// The beginning of the provider's answer.
    pub response: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        Self {
            number: attempt.number,
            provider: attempt.provider,
            outcome: attempt.outcome,
            started_at: attempt.started_at,
            duration_ms: attempt.duration_ms,
            status_code: attempt.status_code,
            response: attempt.response,
            error: attempt.error,
        }
    }
}

/// A delivery with its attempts.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneDeliveryView {
    /// The delivery.
    #[serde(flatten)]
    pub delivery: DeliveryView,
    /// Its attempts, the first first.
    pub attempt_log: Vec<AttemptView>,
}

/// A notification with its deliveries.
#[derive(Debug, Serialize, ToSchema)]
pub struct OneNotificationView {
    /// The notification.
    #[serde(flatten)]
    pub notification: NotificationView,
    /// Its deliveries.
    pub deliveries: Vec<OneDeliveryView>,
}
