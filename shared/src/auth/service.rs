//! Making users, logging in, sessions and keys. Secrets handed out are 32 random bytes; the database
//! holds their SHA-256 only, so that a stolen copy of it opens nothing.

use super::{
    error::AuthError,
    model::{ApiKey, Role, Session, User},
    password, queries,
};
use crate::ids::{ApiKeyId, UserId};
use chrono::{DateTime, Utc};
use diesel::prelude::QueryResult;
use diesel_async::AsyncPgConnection;
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// Life of a browser's session.
pub const SESSION_HOURS: i32 = 12;
/// Shortest password.
pub const MIN_PASSWORD_CHARACTERS: usize = 10;
/// How every API key begins.
pub const API_KEY_PREFIX: &str = "mr_";

/// Longest password: hashing is cheap in its length, reading megabytes is not.
const MAX_PASSWORD_BYTES: usize = 1024;
/// Failed logins in 15 minutes after which a name has to wait.
const FAILURES_PER_USERNAME: i64 = 10;
/// Failed logins in 15 minutes after which an address has to wait.
const FAILURES_PER_ADDRESS: i64 = 30;

/// Makes a user. The name is 3 to 64 letters, digits or `.`, `_`, `@`, `-`; the password has at least
/// ten characters.
pub async fn create_user(
    conn: &mut AsyncPgConnection,
    username: &str,
    email: Option<&str>,
    password: &str,
    role: Role,
) -> Result<User, AuthError> {
    if !is_username(username) {
        return Err(invalid("username", "a username is 3 to 64 letters, digits or the characters . _ @ -"));
    }
    if let Some(email) = email
        && !is_email(email)
    {
        return Err(invalid("email", "an e-mail address looks like name@example.com"));
    }
    if password.chars().count() < MIN_PASSWORD_CHARACTERS || password.len() > MAX_PASSWORD_BYTES {
        return Err(invalid(
            "password",
            &format!(
                "a password has at least {MIN_PASSWORD_CHARACTERS} characters and at most {MAX_PASSWORD_BYTES} bytes"
            ),
        ));
    }
    let hash = password::hash(password).await?;
    queries::insert_user(conn, username, email, &hash, role)
        .await?
        .ok_or_else(|| AuthError::Taken(format!("there is already a user named {username}")))
}

fn invalid(field: &'static str, reason: &str) -> AuthError {
    AuthError::Invalid { field, reason: reason.to_owned() }
}

/// The pattern of the table's check.
fn is_username(text: &str) -> bool {
    (3..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte))
}

fn is_email(text: &str) -> bool {
    text.len() <= 254
        && !text.chars().any(|c| c.is_control() || c.is_whitespace())
        && text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
}

/// The user with this name and password. Ten failures of a name, or thirty of an address, in 15
/// minutes make it wait. An unknown name takes as long as a wrong password.
///
/// The failure is noted before the password is looked at, and taken back if it was right: attempts
/// made at the same time all count, and so does one during which the process dies.
pub async fn login(
    conn: &mut AsyncPgConnection,
    username: &str,
    password: &str,
    address: Option<IpAddr>,
) -> Result<User, AuthError> {
    let username = username.trim();
    // The table holds no other names; NUL, which PostgreSQL refuses, is among the other characters.
    let name = is_username(username).then(|| username.to_ascii_lowercase());
    let by_name = name.as_ref().map(|name| format!("user:{name}"));
    let by_address = address.map(|ip| format!("address:{ip}"));
    let subjects: Vec<String> = by_name.iter().cloned().chain(by_address).collect();
    refuse_if_throttled(conn, &subjects, 0).await?;
    let noted = queries::insert_failures(conn, &subjects).await?;
    refuse_if_throttled(conn, &subjects, 1).await?;

    let found = match &name {
        Some(name) => queries::find_by_username(conn, name).await?,
        None => None,
    };
    let (user, hash) = found.unzip();
    let right = password.len() <= MAX_PASSWORD_BYTES && password::verify(password, hash).await?;
    match user {
        Some(user) if right && user.disabled_at.is_none() => {
            queries::forgive_failures(conn, &noted, by_name.as_deref().unwrap_or_default()).await?;
            Ok(user)
        }
        _ => Err(AuthError::WrongCredentials),
    }
}

/// Counts an attempt that named nobody and so could not succeed against its address.
pub async fn count_attempt(conn: &mut AsyncPgConnection, address: Option<IpAddr>) -> Result<(), AuthError> {
    let subjects: Vec<String> = address.map(|ip| format!("address:{ip}")).into_iter().collect();
    refuse_if_throttled(conn, &subjects, 0).await?;
    queries::insert_failures(conn, &subjects).await?;
    refuse_if_throttled(conn, &subjects, 1).await
}

/// Refuses a subject that has used up its failures, not counting `own` of this attempt.
async fn refuse_if_throttled(
    conn: &mut AsyncPgConnection,
    subjects: &[String],
    own: i64,
) -> Result<(), AuthError> {
    for failures in queries::recent_failures(conn, subjects).await? {
        let limit = match failures.subject.as_str() {
            subject if subject.starts_with("user:") => FAILURES_PER_USERNAME,
            _ => FAILURES_PER_ADDRESS,
        };
        if failures.count >= limit + own {
            return Err(AuthError::Throttled {
                retry_after_seconds: u64::try_from(failures.seconds_left).unwrap_or(1),
            });
        }
    }
    Ok(())
}

/// Begins a browser's session of 12 hours: `(token, csrf_token)`. The token goes into the cookie,
/// the CSRF token into the pages' forms.
pub async fn start_session(conn: &mut AsyncPgConnection, user: UserId) -> QueryResult<(String, String)> {
    let (token, csrf_token) = (secret(), secret());
    queries::insert_session(conn, &digest(&token), user, &csrf_token, SESSION_HOURS).await?;
    Ok((token, csrf_token))
}

/// The session of a cookie's token, if it lives and its user is not disabled.
pub async fn find_session(conn: &mut AsyncPgConnection, token: &str) -> QueryResult<Option<Session>> {
    let found = queries::find_session(conn, &digest(token)).await?;
    Ok(found.map(|(user, csrf_token)| Session { user, csrf_token }))
}

/// Ends a session; one that is over is no error.
pub async fn end_session(conn: &mut AsyncPgConnection, token: &str) -> QueryResult<()> {
    queries::delete_session(conn, &digest(token)).await
}

/// A key that somebody wants.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// What it is for, 1 to 64 characters; unique among working keys.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// When it stops working.
    pub expires_at: Option<DateTime<Utc>>,
    /// Who makes it.
    pub created_by: String,
}

/// Makes a key and returns it with the key's text, which is shown this once.
pub async fn create_api_key(
    conn: &mut AsyncPgConnection,
    new: &NewApiKey,
    now: DateTime<Utc>,
) -> Result<(ApiKey, String), AuthError> {
    let name = new.name.trim();
    if !(1..=64).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err(invalid("name", "a key's name has 1 to 64 characters"));
    }
    if new.expires_at.is_some_and(|at| at <= now) {
        return Err(invalid("expires_at", "the time has passed already"));
    }
    let text = format!("{API_KEY_PREFIX}{}", secret());
    let key = ApiKey {
        id: ApiKeyId::generate(),
        name: name.to_owned(),
        prefix: text[..API_KEY_PREFIX.len() + 8].to_owned(),
        role: new.role,
        created_by: new.created_by.clone(),
        created_at: now,
        expires_at: new.expires_at,
        revoked_at: None,
    };
    let stored = queries::insert_api_key(conn, &key, &digest(&text))
        .await?
        .ok_or_else(|| AuthError::Taken(format!("a working key is named {name} already")))?;
    Ok((stored, text))
}

/// The working key whose text this is.
pub async fn find_api_key(conn: &mut AsyncPgConnection, text: &str) -> QueryResult<Option<ApiKey>> {
    queries::find_working_api_key(conn, &digest(text)).await
}

fn secret() -> String {
    let mut bytes = [0u8; 32];
    rand::fill(&mut bytes);
    hex::encode(bytes)
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_are_those_that_the_table_allows() {
        assert!(is_username("ada.lovelace@example-1_x"));
        for wrong in ["ab", "", "with space", "näme", "a\0bc", &"x".repeat(65)] {
            assert!(!is_username(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn emails_need_a_name_and_a_host() {
        assert!(is_email("ada@example.com"));
        for wrong in ["ada", "@example.com", "ada@host", "a da@example.com", "a\0@example.com"] {
            assert!(!is_email(wrong), "{wrong:?}");
        }
    }
}
