//! Notifications, their deliveries and attempts as they are stored.

use crate::{
    ids::{DeliveryId, EndpointId, NotificationId, RunId},
    schema::{circuits, deliveries, delivery_attempts, notifications, webhook_endpoints},
};
use chrono::{DateTime, Utc};
use diesel::prelude::*;

text_enum! {
    /// A way to a person, or to a program.
    Channel {
        /// A mailbox.
        Email = "email",
        /// A phone.
        Sms = "sms",
        /// A Telegram chat.
        Telegram = "telegram",
        /// A program's URL.
        Webhook = "webhook",
    }
}

text_enum! {
    /// Where a notification stands: what its deliveries are.
    NotificationState {
        /// Some are still to be sent, or to be decided about.
        Pending = "pending",
        /// All were delivered (but for those that nobody wanted).
        Sent = "sent",
        /// Some were delivered.
        Partial = "partial",
        /// None was.
        Failed = "failed",
        /// Its recipient wants none of them.
        Suppressed = "suppressed",
    }
}

text_enum! {
    /// Where a delivery stands.
    DeliveryState {
        /// It is to be sent, or being sent.
        Pending = "pending",
        /// A provider has accepted it.
        Delivered = "delivered",
        /// It was refused for good, or too often.
        Failed = "failed",
        /// It may have been accepted or not: somebody has to decide.
        Unknown = "unknown",
        /// Its recipient does not want messages over this channel.
        Suppressed = "suppressed",
        /// An operator cancelled it.
        Cancelled = "cancelled",
    }
}

text_enum! {
    /// How an attempt ended.
    AttemptOutcome {
        /// It has not, or its end was lost.
        Sending = "sending",
        /// The provider has accepted the message.
        Accepted = "accepted",
        /// The provider could not do it then.
        Transient = "transient",
        /// The provider asked to be left alone for a while.
        Throttled = "throttled",
        /// The provider never will accept it.
        Permanent = "permanent",
        /// It may have accepted it.
        Unknown = "unknown",
    }
}

text_enum! {
    /// Whether a provider is asked.
    CircuitState {
        /// It is.
        Closed = "closed",
        /// It is not: it failed too often.
        Open = "open",
        /// One message tries whether it works again.
        HalfOpen = "half_open",
    }
}

text_enum! {
    /// What an operator has decided about a circuit.
    Forced {
        /// Its provider is not asked.
        Open = "open",
        /// It is, however often it fails.
        Closed = "closed",
    }
}

/// A message.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = notifications, check_for_backend(diesel::pg::Pg))]
pub struct Notification {
    /// Its id.
    pub id: NotificationId,
    /// The event that it tells of; absent if somebody asked for it.
    pub event: Option<String>,
    /// The client that it is for.
    pub client_id: Option<String>,
    /// One line.
    pub title: String,
    /// Plain text.
    pub body: String,
    /// The same as HTML.
    pub html: Option<String>,
    /// What programs are told.
    pub payload: serde_json::Value,
    /// Where it stands.
    pub state: NotificationState,
    /// Not to be sent before.
    pub send_at: Option<DateTime<Utc>>,
    /// Who asked for it.
    pub created_by: String,
    /// The time in its id.
    pub created_at: DateTime<Utc>,
}

/// A message to one recipient over one channel.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = deliveries, check_for_backend(diesel::pg::Pg))]
pub struct Delivery {
    /// Its id: the idempotency key for providers.
    pub id: DeliveryId,
    /// The message.
    pub notification_id: NotificationId,
    /// The run that sends it.
    pub run_id: Option<RunId>,
    /// The webhook's endpoint.
    pub endpoint_id: Option<EndpointId>,
    /// When a provider was asked last.
    pub last_attempt_at: Option<DateTime<Utc>>,
    /// When it was delivered, or given up.
    pub ended_at: Option<DateTime<Utc>>,
    /// How often a provider was asked.
    pub attempts: i32,
    /// The channel.
    pub channel: Channel,
    /// The client that it is for.
    pub client_id: Option<String>,
    /// A mailbox, a phone number, a chat's id, a URL.
    pub address: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// The provider that was asked last.
    pub provider: Option<String>,
    /// What went wrong last.
    pub error_message: Option<String>,
}

/// One time that a provider was asked.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = delivery_attempts, check_for_backend(diesel::pg::Pg))]
pub struct Attempt {
    /// Of which delivery.
    pub delivery_id: DeliveryId,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// Counted from 1, over all of the delivery's runs.
    pub number: i32,
    /// The attempt of the run that it belongs to; several providers may be asked in one.
    pub run_attempt: i32,
    /// How long it took.
    pub duration_ms: Option<i32>,
    /// Of HTTP or SMTP.
    pub status_code: Option<i32>,
    /// Who was asked.
    pub provider: String,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// The beginning of the provider's answer.
    pub response: Option<String>,
    /// What went wrong.
    pub error: Option<String>,
}

/// Whether a provider, or a webhook's endpoint, is asked.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = circuits, check_for_backend(diesel::pg::Pg))]
pub struct Circuit {
    /// `channel/provider`, or `webhook/` and the endpoint's id.
    pub name: String,
    /// Failures since the last success.
    pub failures: i32,
    /// Times that it opened since the last success.
    pub openings: i32,
    /// Where it stands.
    pub state: CircuitState,
    /// What an operator has decided.
    pub forced: Option<Forced>,
    /// Open: when it is tried again. Half open: until when that may take.
    pub probe_at: Option<DateTime<Utc>>,
    /// Until when it asked to be left alone.
    pub hold_until: Option<DateTime<Utc>>,
    /// When its state changed.
    pub changed_at: DateTime<Utc>,
    /// The operator who changed it.
    pub changed_by: Option<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// Where a program wants to be told.
#[derive(Clone, Queryable, Selectable)]
#[diesel(table_name = webhook_endpoints, check_for_backend(diesel::pg::Pg))]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Where messages are posted.
    pub url: String,
    /// The client whose events alone it is told of.
    pub client_id: Option<String>,
    /// What people call it.
    pub description: String,
    /// The events that it is told of.
    pub events: Vec<String>,
    /// Signs messages.
    pub secret: String,
    /// Signs them too, until `previous_until`.
    pub previous_secret: Option<String>,
    /// Until when the previous secret holds.
    pub previous_until: Option<DateTime<Utc>>,
    /// Since when nothing is sent to it.
    pub disabled_at: Option<DateTime<Utc>>,
    /// Why.
    pub disabled_reason: Option<String>,
    /// Who registered it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
}
