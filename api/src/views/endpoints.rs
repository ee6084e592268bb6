//! Webhook endpoints as JSON. Secrets are in views of their own.

use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{ids::EndpointId, notifications::model::Endpoint};
use utoipa::ToSchema;

/// Where a program wants to be told.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointView {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub id: EndpointId,
    /// Where messages are posted.
    pub url: String,
    /// The client whose events alone it is told of; null if it is told of everybody's.
    pub client_id: Option<String>,
    /// What people call it.
    pub description: String,
    /// The events that it is told of.
    pub events: Vec<String>,
    /// Whether anything is sent to it.
    pub enabled: bool,
    /// Since when nothing is.
    pub disabled_at: Option<DateTime<Utc>>,
    /// Why.
    pub disabled_reason: Option<String>,
    /// Until when the secret of before the last rotation signs too.
    pub previous_until: Option<DateTime<Utc>>,
    /// Who registered it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

impl From<Endpoint> for EndpointView {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            id: endpoint.id,
            url: endpoint.url,
            client_id: endpoint.client_id,
            description: endpoint.description,
            events: endpoint.events,
            enabled: endpoint.disabled_at.is_none(),
            disabled_at: endpoint.disabled_at,
            disabled_reason: endpoint.disabled_reason,
            previous_until: endpoint.previous_until,
            created_by: endpoint.created_by,
            created_at: endpoint.created_at,
        }
    }
}

/// An endpoint with its secret, as it is shown to who registers it or rotates the secret.
#[derive(Serialize, ToSchema)]
pub struct EndpointSecretView {
    /// The endpoint.
    #[serde(flatten)]
    pub endpoint: EndpointView,
    /// Signs messages: `whsec_` and 32 bytes in base64.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    pub secret: String,
}

impl From<Endpoint> for EndpointSecretView {
    fn from(endpoint: Endpoint) -> Self {
        Self { secret: endpoint.secret.clone(), endpoint: endpoint.into() }
    }
}

/// What an endpoint's messages are signed with.
#[derive(Serialize, ToSchema)]
pub struct SecretView {
    /// Signs messages.
    pub secret: String,
    /// Signs them too, until `previous_until`.
    pub previous_secret: Option<String>,
    /// Until when the previous one holds.
    pub previous_until: Option<DateTime<Utc>>,
}

impl SecretView {
    /// The secrets of an endpoint that hold now.
    pub fn new(endpoint: Endpoint, now: DateTime<Utc>) -> Self {
        let holds = endpoint.previous_until.is_some_and(|until| until > now);
        Self {
            secret: endpoint.secret,
            previous_secret: endpoint.previous_secret.filter(|_| holds),
            previous_until: endpoint.previous_until.filter(|_| holds),
        }
    }
}
