//! The outbox in PostgreSQL: the record of the feed, and what is read where Redis does not help.

use super::Epoch;
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Interval, Nullable, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::time::Duration;

/// Held by the process that publishes.
pub const PUBLISHER_LOCK: i64 = 7_241_006;

/// A row: the events of one commit.
#[derive(Debug, Clone, QueryableByName)]
pub struct Entry {
    /// In the order of the commits.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// When its transaction began.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// A JSON array of events.
    #[diesel(sql_type = Text)]
    pub events: String,
}

/// How far the outbox reaches.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct Extent {
    /// The epoch of its ids.
    #[diesel(sql_type = BigInt)]
    epoch: i64,
    /// The oldest row that is kept.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub first: Option<i64>,
    /// The newest row.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub last: Option<i64>,
}

impl Extent {
    /// The epoch of its ids.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }

    /// Whether all that came after a row is still there.
    pub fn covers(&self, entry: i64) -> bool {
        self.first.is_some_and(|first| first <= entry + 1)
    }
}

/// How far the outbox reaches now.
pub async fn extent(conn: &mut AsyncPgConnection) -> QueryResult<Extent> {
    diesel::sql_query(
        "SELECT epoch, (SELECT min(id) FROM feed_outbox) AS first, (SELECT max(id) FROM feed_outbox) AS last
         FROM feed_epoch",
    )
    .get_result(conn)
    .await
}

/// The rows after a row, oldest first, at most so many.
pub async fn entries_after(conn: &mut AsyncPgConnection, id: i64, limit: i64) -> QueryResult<Vec<Entry>> {
    diesel::sql_query(
        "SELECT id, created_at, events::text AS events FROM feed_outbox WHERE id > $1 ORDER BY id LIMIT $2",
    )
    .bind::<BigInt, _>(id)
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await
}

/// The newest rows, oldest first, at most so many.
pub async fn newest_entries(conn: &mut AsyncPgConnection, limit: i64) -> QueryResult<Vec<Entry>> {
    diesel::sql_query(
        "SELECT * FROM (SELECT id, created_at, events::text AS events FROM feed_outbox ORDER BY id DESC LIMIT $1) AS e
         ORDER BY id",
    )
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await
}

/// The newest rows, newest first: at most so many, and none after the one that passes so many bytes of events.
pub async fn newest_within(conn: &mut AsyncPgConnection, rows: i64, bytes: i64) -> QueryResult<Vec<Entry>> {
    diesel::sql_query(
        "SELECT id, created_at, events FROM (
             SELECT id, created_at, events,
                    sum(octet_length(events)) OVER (ORDER BY id DESC) - octet_length(events) AS before
             FROM (SELECT id, created_at, events::text AS events FROM feed_outbox ORDER BY id DESC LIMIT $1) AS newest
         ) AS measured WHERE before < $2 ORDER BY id DESC",
    )
    .bind::<BigInt, _>(rows)
    .bind::<BigInt, _>(bytes)
    .load(conn)
    .await
}

/// How much was told lately.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct Pace {
    /// So many events.
    #[diesel(sql_type = BigInt)]
    pub events: i64,
    /// In so long, at least 1.
    #[diesel(sql_type = BigInt)]
    pub span_ms: i64,
}

/// How much was told in the last minute; where that is more rows than are looked at, since the oldest of these.
pub async fn pace(conn: &mut AsyncPgConnection, rows: i64) -> QueryResult<Pace> {
    diesel::sql_query(
        "SELECT coalesce(sum(told), 0)::bigint AS events,
                CASE WHEN count(*) < $1 THEN 60000
                     ELSE greatest(1, (extract(epoch FROM now() - min(created_at)) * 1000)::bigint) END AS span_ms
         FROM (SELECT created_at, json_array_length(events) AS told
               FROM (SELECT created_at, events FROM feed_outbox ORDER BY id DESC LIMIT $1) AS newest
               WHERE created_at > now() - interval '1 minute') AS lately",
    )
    .bind::<BigInt, _>(rows)
    .get_result(conn)
    .await
}

/// Begins a new epoch if the outbox is younger than `told`, an id that was told of it in `epoch`: then a backup
/// was restored, or a standby took over that had not heard of it, and ids will come twice.
pub async fn renew_if_behind(conn: &mut AsyncPgConnection, epoch: Epoch, told: i64) -> QueryResult<bool> {
    let renewed = diesel::sql_query(
        "UPDATE feed_epoch SET epoch = 1 + floor(random() * 281474976710655)::bigint, begun_at = now()
         WHERE epoch = $1 AND (SELECT last_value FROM feed_outbox_id_seq) < $2",
    )
    .bind::<BigInt, _>(epoch.0)
    .bind::<BigInt, _>(told)
    .execute(conn)
    .await?;
    Ok(renewed > 0)
}

/// Empties the outbox and begins a new epoch, in the caller's transaction: whoever listens, or comes back with an id,
/// is told to read everything anew.
pub async fn begin_anew(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    diesel::sql_query("DELETE FROM feed_outbox").execute(conn).await?;
    diesel::sql_query(
        "UPDATE feed_epoch SET epoch = 1 + floor(random() * 281474976710655)::bigint, begun_at = now()",
    )
    .execute(conn)
    .await
    .map(drop)
}

/// Removes what is older than `kept`, but for the newest row, by which those who have it know that they missed
/// nothing. At most 1,000 rows at a time; how many.
pub async fn prune(conn: &mut AsyncPgConnection, kept: Duration) -> QueryResult<usize> {
    let kept = diesel::data_types::PgInterval::from_microseconds(
        i64::try_from(kept.as_micros()).unwrap_or(i64::MAX),
    );
    diesel::sql_query(
        "DELETE FROM feed_outbox
         WHERE id IN (SELECT id FROM feed_outbox ORDER BY id LIMIT 1000)
           AND created_at < now() - $1 AND id < (SELECT max(id) FROM feed_outbox)",
    )
    .bind::<Interval, _>(kept)
    .execute(conn)
    .await
}
