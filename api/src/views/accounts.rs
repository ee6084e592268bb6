//! Users, API keys and access tokens as JSON.

use super::words;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::auth::{ApiKey, Role, User};
use utoipa::ToSchema;
use uuid::Uuid;

/// A fresh access token.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenView {
    /// Send it as `Authorization: Bearer`.
    pub access_token: String,
    /// `Bearer`.
    pub token_type: &'static str,
    /// Its life in seconds.
    pub expires_in: u64,
    /// What its user may do.
    #[schema(schema_with = words::role)]
    pub role: Role,
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
pub struct UserView {
    /// Its id.
    pub id: Uuid,
    /// The name it logs in with.
    pub username: String,
    /// E-mail.
    pub email: Option<String>,
    /// What it may do.
    #[schema(schema_with = words::role)]
    pub role: Role,
    /// Since when it may do nothing.
    pub disabled_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            id: user.id.0,
            username: user.username,
            email: user.email,
            role: user.role,
            disabled_at: user.disabled_at,
            created_at: user.created_at,
        }
    }
}

/// An API key.
#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyView {
    /// Its id.
    pub id: Uuid,
    /// What it is for.
    pub name: String,
    /// How the key begins.
    pub prefix: String,
    /// What it may do.
    #[schema(schema_with = words::role)]
    pub role: Role,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it stops working.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        Self {
            id: key.id.0,
            name: key.name,
            prefix: key.prefix,
            role: key.role,
            created_by: key.created_by,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
        }
    }
}

/// An API key that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub struct NewApiKeyView {
    /// The key itself, shown this once; absent when the request was repeated under its Idempotency-Key.
    pub key: Option<String>,
    /// The rest.
    #[serde(flatten)]
    pub api_key: ApiKeyView,
}
