//! Users, sessions and API keys as they are stored.

use crate::{
    ids::{ApiKeyId, UserId},
    schema::{api_keys, users},
};
use chrono::{DateTime, Utc};
use diesel::prelude::*;

text_enum! {
    /// What somebody may do; the api's access table gives the words their meaning.
    Role {
        /// Reads.
        Viewer = "viewer",
        /// Reads, uploads, retries and cancels.
        Operator = "operator",
        /// Everything, users and keys too.
        Admin = "admin",
        /// A program: uploads and reads over the API.
        Integration = "integration",
    }
}

/// A person (or program) that logs in by name and password.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = users, check_for_backend(diesel::pg::Pg))]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The name it logs in with, unique without regard to case.
    pub username: String,
    /// E-mail.
    pub email: Option<String>,
    /// What it may do.
    pub role: Role,
    /// Since when it may do nothing.
    pub disabled_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A live session of a browser.
#[derive(Debug, Clone)]
pub struct Session {
    /// Who.
    pub user: User,
    /// What each of its forms must carry.
    pub csrf_token: String,
}

/// A key by which a program proves itself. The key itself is not stored.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = api_keys, check_for_backend(diesel::pg::Pg))]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// What it is for.
    pub name: String,
    /// How the key begins, for people to recognise it.
    pub prefix: String,
    /// What it may do.
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
