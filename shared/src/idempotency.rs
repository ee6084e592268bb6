//! Idempotency keys: a caller that does not know whether its request arrived sends it again under the
//! same key, and gets the same resource. Both steps belong in the transaction that makes the resource:
//! if the process dies before its commit, the key is as unused as the resource is unmade.

use crate::schema::idempotency_keys;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Nothing so far: make the resource, then [`point`] the key to it.
    Fresh,
    /// The same request, which made the resource at this location.
    Repeated(String),
    /// Another request.
    Reused,
}

/// Takes `key` for the request that `fingerprint` describes. A second request under the same key waits
/// here for the first one's commit.
pub async fn claim(
    conn: &mut AsyncPgConnection,
    principal: &str,
    key: &str,
    fingerprint: &str,
) -> QueryResult<Claim> {
    let taken = diesel::insert_into(idempotency_keys::table)
        .values((
            idempotency_keys::principal.eq(principal),
            idempotency_keys::key.eq(key),
            idempotency_keys::fingerprint.eq(fingerprint),
            idempotency_keys::location.eq(""),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    if taken == 1 {
        return Ok(Claim::Fresh);
    }
    let (earlier, location): (String, String) = idempotency_keys::table
        .find((principal, key))
        .select((idempotency_keys::fingerprint, idempotency_keys::location))
        .first(conn)
        .await?;
    Ok(if earlier == fingerprint { Claim::Repeated(location) } else { Claim::Reused })
}

/// Notes where the resource is that a claimed key stands for.
pub async fn point(
    conn: &mut AsyncPgConnection,
    principal: &str,
    key: &str,
    location: &str,
) -> QueryResult<()> {
    diesel::update(idempotency_keys::table.find((principal, key)))
        .set(idempotency_keys::location.eq(location))
        .execute(conn)
        .await
        .map(|_| ())
}
