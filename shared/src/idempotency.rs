//! Idempotency keys: a caller that does not know whether its request arrived sends it again under the
//! same key, and gets the same resource. Both steps belong in the transaction that makes the resource:
//! if the process dies before its commit, the key is as unused as the resource is unmade.

use crate::schema::idempotency_keys;
use diesel::{
    prelude::*,
    sql_types::{Array, Text},
};
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

/// Whether a key stands for something already.
pub async fn is_taken(conn: &mut AsyncPgConnection, principal: &str, key: &str) -> QueryResult<bool> {
    let found = idempotency_keys::table.find((principal, key)).select(idempotency_keys::key);
    Ok(found.first::<String>(conn).await.optional()?.is_some())
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

/// A key and what it is to stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Whose.
    pub principal: String,
    /// The key.
    pub key: String,
    /// Describes the request.
    pub fingerprint: String,
    /// Where its resource will be.
    pub location: String,
}

/// What a key stands for.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Held {
    /// Describes the request that took it.
    #[diesel(sql_type = Text)]
    pub fingerprint: String,
    /// Where that one's resource is.
    #[diesel(sql_type = Text)]
    pub location: String,
}

/// Takes the keys that are free, each for its resource, and says of each, in its place, what it stands for now.
/// Waits for whoever is just taking one of them.
pub async fn claim_all(conn: &mut AsyncPgConnection, keys: &[&NewKey]) -> QueryResult<Vec<Held>> {
    fn column(keys: &[&NewKey], value: impl Fn(&NewKey) -> &str) -> Vec<String> {
        keys.iter().map(|key| value(key).to_owned()).collect()
    }
    let (principals, names) = (column(keys, |key| &key.principal), column(keys, |key| &key.key));
    // In the order of the keys: two who take several do not deadlock.
    diesel::sql_query(
        "INSERT INTO idempotency_keys (principal, key, fingerprint, location)
         SELECT k.principal, k.key, k.fingerprint, k.location
         FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS k (principal, key, fingerprint, location, n)
         ORDER BY k.principal, k.key, k.n
         ON CONFLICT DO NOTHING",
    )
    .bind::<Array<Text>, _>(&principals)
    .bind::<Array<Text>, _>(&names)
    .bind::<Array<Text>, _>(column(keys, |key| &key.fingerprint))
    .bind::<Array<Text>, _>(column(keys, |key| &key.location))
    .execute(conn)
    .await?;
    diesel::sql_query(
        "SELECT i.fingerprint, i.location
         FROM unnest($1, $2) WITH ORDINALITY AS k (principal, key, n)
         JOIN idempotency_keys i ON i.principal = k.principal AND i.key = k.key
         ORDER BY k.n",
    )
    .bind::<Array<Text>, _>(&principals)
    .bind::<Array<Text>, _>(&names)
    .load(conn)
    .await
}
