//! Password hashing: argon2id with the crate's defaults (19 MiB, 2 passes), off the async threads.

use super::error::AuthError;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use std::sync::OnceLock;
use tokio::sync::Semaphore;

/// Hashes computed at once in the process: each takes 19 MiB, and a flood of logins must not take
/// them all at once.
static SLOTS: Semaphore = Semaphore::const_new(2);

/// The hash of no one's password: compared with when the user is unknown, so that the answer takes
/// as long as for a known one.
static NOBODY: OnceLock<String> = OnceLock::new();

/// The password's hash in PHC form.
pub async fn hash(password: &str) -> Result<String, AuthError> {
    let password = password.to_owned();
    blocking(move || hash_now(&password)).await?
}

/// Whether the password is the one hashed; without a hash it takes as long and says no.
pub async fn verify(password: &str, hash: Option<String>) -> Result<bool, AuthError> {
    let password = password.to_owned();
    blocking(move || {
        let known = hash.is_some();
        let hash = match hash {
            Some(hash) => hash,
            None => nobody()?,
        };
        Ok(Argon2::default().verify_password(password.as_bytes(), hash.as_str()).is_ok() && known)
    })
    .await?
}

fn nobody() -> Result<String, AuthError> {
    if let Some(hash) = NOBODY.get() {
        return Ok(hash.clone());
    }
    let hash = hash_now("the password of nobody")?;
    Ok(NOBODY.get_or_init(|| hash).clone())
}

fn hash_now(password: &str) -> Result<String, AuthError> {
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| AuthError::Crypto(error.to_string()))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AuthError> {
    let _slot = SLOTS.acquire().await.map_err(|error| AuthError::Crypto(error.to_string()))?;
    tokio::task::spawn_blocking(work).await.map_err(|error| AuthError::Crypto(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_same_password_matches_its_hash() {
        let stored = hash("correct horse").await.unwrap();
        assert!(stored.starts_with("$argon2id$"));
        assert!(verify("correct horse", Some(stored.clone())).await.unwrap());
        assert!(!verify("battery staple", Some(stored)).await.unwrap());
        assert!(!verify("the password of nobody", None).await.unwrap());
    }
}
