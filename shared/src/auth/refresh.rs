//! Refresh tokens in the form of the service that this system replaces (A): JWTs that are good for one
//! use, which gives the next of the family. A token that is used twice was stolen, or its owner's reply
//! was lost: either way the family ends, and its owner logs in again.

use super::{
    error::AuthError,
    model::User,
    queries::find_active_user,
    token::{sign, verify},
};
use crate::{ids::UserId, schema::refresh_tokens};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use uuid::Uuid;

const ACCESS: &str = "access";
const REFRESH: &str = "refresh";

/// What a pair is signed with, and how long its tokens live.
#[derive(Debug, Clone, Copy)]
pub struct TokenRules<'a> {
    /// The installation's key.
    pub key: &'a [u8],
    /// Life of an access token.
    pub access_life: Duration,
    /// Life of a refresh token.
    pub refresh_life: Duration,
}

/// An access token and what the next is got with.
#[derive(Debug, Clone)]
pub struct TokenPair {
    /// Opens the API.
    pub access: String,
    /// Good for one more pair.
    pub refresh: String,
}

/// The claims that clients of the service know. `jti` is 32 hexadecimal digits.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claims {
    token_type: String,
    exp: i64,
    iat: i64,
    jti: String,
    user_id: UserId,
}

/// The first pair of a family, after a login.
pub async fn issue_pair(
    conn: &mut AsyncPgConnection,
    rules: TokenRules<'_>,
    user: &User,
    now: DateTime<Utc>,
) -> Result<TokenPair, AuthError> {
    // Whoever logs in sweeps what is of no use any more; a used token is kept until it would have expired.
    diesel::delete(refresh_tokens::table.filter(refresh_tokens::expires_at.lt(now))).execute(conn).await?;
    next_pair(conn, rules, user.id, Uuid::new_v4(), now).await
}

/// The next pair of a family, for its last token. A token that has been used ends the family; call it
/// outside of a transaction, so that this is kept although the answer is a refusal.
pub async fn rotate(
    conn: &mut AsyncPgConnection,
    rules: TokenRules<'_>,
    token: &str,
    now: DateTime<Utc>,
) -> Result<TokenPair, AuthError> {
    let claims = read(rules.key, token, now, Some(REFRESH))?;
    // One transaction: whoever uses the token at the same time waits for it, and then revokes the new one
    // with its family.
    let pair = conn.transaction::<_, AuthError, _>(async |conn| {
        let Some(family) = use_up(conn, &claims, now).await? else { return Ok(None) };
        let user = find_active_user(conn, claims.user_id).await?.ok_or(AuthError::InvalidToken)?;
        next_pair(conn, rules, user.id, family, now).await.map(Some)
    });
    pair.await?.ok_or(AuthError::TokenUsed)
}

/// Ends the family of a refresh token. One that has been used, or has ended, is refused.
pub async fn log_out(
    conn: &mut AsyncPgConnection,
    key: &[u8],
    token: &str,
    now: DateTime<Utc>,
) -> Result<(), AuthError> {
    let claims = read(key, token, now, Some(REFRESH))?;
    match use_up(conn, &claims, now).await? {
        Some(family) => Ok(revoke(conn, family, now).await?),
        None => Err(AuthError::TokenUsed),
    }
}

/// Whether a token, of either type, is one of ours that is good.
pub async fn check(
    conn: &mut AsyncPgConnection,
    key: &[u8],
    token: &str,
    now: DateTime<Utc>,
) -> Result<(), AuthError> {
    // An access token that Millrace's own API issued is good, too.
    if super::read_token(key, token, now).is_ok() {
        return Ok(());
    }
    let claims = read(key, token, now, None)?;
    let good = refresh_tokens::table
        .find(id(&claims)?)
        .filter(refresh_tokens::used_at.is_null().and(refresh_tokens::revoked_at.is_null()));
    let good: bool = diesel::select(diesel::dsl::exists(good)).get_result(conn).await?;
    if good { Ok(()) } else { Err(AuthError::TokenUsed) }
}

/// Marks a token as used; its family. `None` if it had been used: the family is then revoked.
async fn use_up(
    conn: &mut AsyncPgConnection,
    claims: &Claims,
    now: DateTime<Utc>,
) -> Result<Option<Uuid>, AuthError> {
    let id = id(claims)?;
    let unused = refresh_tokens::table
        .find(id)
        .filter(refresh_tokens::used_at.is_null().and(refresh_tokens::revoked_at.is_null()));
    let family: Option<Uuid> = diesel::update(unused)
        .set(refresh_tokens::used_at.eq(now))
        .returning(refresh_tokens::family)
        .get_result(conn)
        .await
        .optional()?;
    if family.is_some() {
        return Ok(family);
    }
    let known: Option<Uuid> =
        refresh_tokens::table.find(id).select(refresh_tokens::family).first(conn).await.optional()?;
    if let Some(family) = known {
        tracing::warn!(%family, "a refresh token was used again; its family is revoked");
        revoke(conn, family, now).await?;
    }
    Ok(None)
}

async fn revoke(conn: &mut AsyncPgConnection, family: Uuid, now: DateTime<Utc>) -> QueryResult<()> {
    let living = refresh_tokens::table
        .filter(refresh_tokens::family.eq(family).and(refresh_tokens::revoked_at.is_null()));
    diesel::update(living).set(refresh_tokens::revoked_at.eq(now)).execute(conn).await.map(|_| ())
}

async fn next_pair(
    conn: &mut AsyncPgConnection,
    rules: TokenRules<'_>,
    user: UserId,
    family: Uuid,
    now: DateTime<Utc>,
) -> Result<TokenPair, AuthError> {
    let claims = |token_type: &str, life: Duration| Claims {
        token_type: token_type.to_owned(),
        exp: now.timestamp().saturating_add_unsigned(life.as_secs()),
        iat: now.timestamp(),
        jti: Uuid::new_v4().simple().to_string(),
        user_id: user,
    };
    let refresh = claims(REFRESH, rules.refresh_life);
    let life = TimeDelta::from_std(rules.refresh_life).unwrap_or(TimeDelta::days(1));
    diesel::insert_into(refresh_tokens::table)
        .values((
            refresh_tokens::jti.eq(id(&refresh)?),
            refresh_tokens::family.eq(family),
            refresh_tokens::user_id.eq(user),
            refresh_tokens::expires_at.eq(now + life),
        ))
        .execute(conn)
        .await?;
    Ok(TokenPair {
        access: sign(rules.key, &claims(ACCESS, rules.access_life))?,
        refresh: sign(rules.key, &refresh)?,
    })
}

fn read(key: &[u8], token: &str, now: DateTime<Utc>, wanted: Option<&str>) -> Result<Claims, AuthError> {
    let claims: Claims = verify(key, token)?;
    if claims.exp <= now.timestamp() || wanted.is_some_and(|wanted| claims.token_type != wanted) {
        return Err(AuthError::InvalidToken);
    }
    Ok(claims)
}

fn id(claims: &Claims) -> Result<Uuid, AuthError> {
    claims.jti.parse().map_err(|_| AuthError::InvalidToken)
}
