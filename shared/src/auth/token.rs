//! Access tokens: short-lived JWTs (HS256), signed with the installation's key. A token names a user;
//! what the user may do is looked up at each request, so that a change of role works at once.

use super::{
    error::AuthError,
    model::{Role, User},
};
use crate::ids::UserId;
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::time::Duration;

/// The `token_type` of tokens that open the API.
const ACCESS: &str = "access";

/// A fresh access token.
#[derive(Debug, Clone)]
pub struct AccessToken {
    /// The JWT.
    pub token: String,
    /// Its life in seconds.
    pub expires_in: u64,
}

#[derive(Debug, Serialize)]
struct Claims {
    sub: UserId,
    role: Role,
    exp: i64,
    iat: i64,
    jti: uuid::Uuid,
    token_type: String,
}

/// What is read of an access token, whichever of the two forms it has: Millrace's own (`sub`), or that of
/// the service A (`user_id`). Both are signed for the same users after the same login, so both open the same
/// doors.
#[derive(Debug, Clone, Deserialize)]
struct Named {
    #[serde(alias = "user_id")]
    sub: UserId,
    exp: i64,
    token_type: String,
}

/// Signs a token for a user, valid from `now` for `life`.
pub fn issue_token(
    key: &[u8],
    user: &User,
    now: DateTime<Utc>,
    life: Duration,
) -> Result<AccessToken, AuthError> {
    let expires_in = life.as_secs();
    let claims = Claims {
        sub: user.id,
        role: user.role,
        exp: now.timestamp().saturating_add_unsigned(expires_in),
        iat: now.timestamp(),
        jti: uuid::Uuid::new_v4(),
        token_type: ACCESS.to_owned(),
    };
    Ok(AccessToken { token: sign(key, &claims)?, expires_in })
}

/// Signs claims.
pub(super) fn sign(key: &[u8], claims: &impl Serialize) -> Result<String, AuthError> {
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(key))
        .map_err(|error| AuthError::Crypto(error.to_string()))
}

/// The claims of a token that we signed; whether its time is over is for the caller to see.
pub(super) fn verify<T: DeserializeOwned + Clone>(key: &[u8], token: &str) -> Result<T, AuthError> {
    let mut validation = Validation::new(Algorithm::HS256);
    // Compared with the caller's clock.
    validation.validate_exp = false;
    jsonwebtoken::decode::<T>(token, &DecodingKey::from_secret(key), &validation)
        .map(|decoded| decoded.claims)
        .map_err(|_| AuthError::InvalidToken)
}

/// The user that a token names, if we signed it and it has not expired at `now`.
pub fn read_token(key: &[u8], token: &str, now: DateTime<Utc>) -> Result<UserId, AuthError> {
    let claims: Named = verify(key, token)?;
    if claims.token_type != ACCESS || claims.exp <= now.timestamp() {
        return Err(AuthError::InvalidToken);
    }
    Ok(claims.sub)
}

/// When a token of ours expires; `None` of what is no token.
pub fn expiry(key: &[u8], token: &str) -> Option<DateTime<Utc>> {
    let claims: Named = verify(key, token).ok()?;
    DateTime::from_timestamp(claims.exp, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    #[test]
    fn a_token_opens_until_it_expires_and_only_with_its_key() {
        let now = SystemClock.now();
        let user = User {
            id: UserId::generate(),
            username: "ada".to_owned(),
            email: None,
            role: Role::Viewer,
            disabled_at: None,
            created_at: now,
        };
        let issued = issue_token(&[7; 48], &user, now, Duration::from_secs(60)).unwrap();
        assert_eq!(issued.expires_in, 60);
        assert_eq!(read_token(&[7; 48], &issued.token, now).unwrap(), user.id);
        assert!(read_token(&[8; 48], &issued.token, now).is_err());
        assert!(read_token(&[7; 48], &issued.token, now + chrono::TimeDelta::seconds(60)).is_err());
        let (head, _) = issued.token.rsplit_once('.').unwrap();
        assert!(read_token(&[7; 48], &format!("{head}."), now).is_err());
    }
}
