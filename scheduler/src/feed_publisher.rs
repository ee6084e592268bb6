//! Publishing the feed: each row of the outbox goes onto the Redis stream, in order. One process leads, so that the
//! work is done once; two that do it at a time do no harm, for an entry is there once under its row's id. It also
//! removes what is kept long enough.

use crate::{BETWEEN_TRIES, SchedulerSetup, leader};
use anyhow::Context;
use diesel_async::AsyncPgConnection;
use shared::{
    config::DatabaseConfig,
    db::{self, DbPool},
    feed::{
        listener::Listener,
        outbox::{self, PUBLISHER_LOCK},
        stream::Stream,
    },
    metrics,
};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Longest time between looks at the outbox.
const LOOK: Duration = Duration::from_secs(1);
/// Rows that are published at a time.
const ROWS: i64 = 64;
/// Time between removals of what is old.
const PRUNE: Duration = Duration::from_secs(10);
/// Longest wait for PostgreSQL.
const PATIENCE: Duration = Duration::from_secs(10);

/// Publishes while it leads, until `shutdown` ends. Servers that are away are waited for.
pub async fn run(setup: SchedulerSetup, shutdown: CancellationToken) -> anyhow::Result<()> {
    let config = DatabaseConfig { pool_size: 1, ..setup.database.clone() };
    let pool = db::pool(&config, &leader::name("feed"))?;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Err(error) = lead(&pool, &setup) => tracing::warn!("the feed is not published just now: {error:#}"),
        }
        tokio::select! {
            () = tokio::time::sleep(BETWEEN_TRIES) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

/// Publishes as long as its connection, and with it the lock, holds; returns at once if another process leads.
async fn lead(pool: &DbPool, setup: &SchedulerSetup) -> anyhow::Result<()> {
    let url = db::named_url(&setup.database.url, &leader::name("publisher"));
    let listener = tokio::time::timeout(PATIENCE, Listener::connect(&url)).await??;
    let leads: bool =
        listener.client.query_one("SELECT pg_try_advisory_lock($1)", &[&PUBLISHER_LOCK]).await?.get(0);
    if !leads {
        return Ok(());
    }
    tracing::info!("this process publishes the feed");
    let (mut stream, mut last, mut pruned) = (None, 0, Instant::now());
    loop {
        anyhow::ensure!(!listener.is_closed(), "the connection that leads was lost");
        if let Some(redis) = &setup.redis {
            if stream.is_none() {
                match open(pool, redis).await {
                    Ok((opened, published)) => (stream, last) = (Some(opened), published),
                    // Who listens reads the outbox meanwhile.
                    Err(error) => tracing::debug!("the feed's stream is away: {error:#}"),
                }
            }
            if let Some(open) = &mut stream
                && let Err(error) = publish(pool, open, &mut last).await
            {
                tracing::debug!("the feed's stream does not answer: {error:#}");
                stream = None;
            }
        }
        if pruned.elapsed() >= PRUNE {
            let mut conn = pool.get().await?;
            while outbox::prune(&mut conn, setup.feed.kept).await? > 0 {}
            pruned = Instant::now();
        }
        tokio::select! {
            () = listener.told() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// Opens the stream, and tells after which row of the outbox it is to go on. Where the stream was lost that is the
/// newest row: those who listen read what they miss.
async fn open(pool: &DbPool, redis: &shared::config::RedisConfig) -> anyhow::Result<(Stream, i64)> {
    let mut stream = Stream::connect(redis, Duration::ZERO).await?;
    let mut conn = pool.get().await?;
    let extent = outbox::extent(&mut conn).await?;
    let newest = extent.last.unwrap_or(0);
    let Some(published) = stream.last().await? else { return Ok((stream, newest)) };
    if published.id > newest && outbox::renew_if_behind(&mut conn, extent.epoch(), published.id).await? {
        tracing::warn!("the outbox is younger than the feed's stream: a new epoch begins");
    }
    if published.id > newest || !extent.covers(published.id) {
        stream.forget().await?;
        return Ok((stream, newest));
    }
    Ok((stream, published.id))
}

/// Publishes what the outbox has after `last`.
async fn publish(pool: &DbPool, stream: &mut Stream, last: &mut i64) -> anyhow::Result<()> {
    let mut pooled = pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    loop {
        let entries = outbox::entries_after(conn, *last, ROWS).await?;
        let Some(newest) = entries.last().map(|entry| entry.id) else { return Ok(()) };
        let epoch = outbox::extent(conn).await.context("the epoch")?.epoch();
        stream.publish(epoch, *last, &entries).await?;
        metrics::feed_published(entries.len());
        *last = newest;
    }
}
