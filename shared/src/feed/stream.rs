//! The Redis stream: one entry a row of the outbox, under the row's id, so that publishing one twice changes
//! nothing. It is kept short; what has left it is in the outbox.

use super::{Epoch, outbox::Entry};
use crate::{config::RedisConfig, tls};
use redis::{
    AsyncConnectionConfig, RedisError, Value,
    aio::MultiplexedConnection,
    streams::{StreamId, StreamReadReply},
};
use std::time::Duration;

/// Entries that are kept.
const KEPT: usize = 256;
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_millis(500);
/// Longest wait for an answer, beyond what was asked for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Entries that are read at a time.
const READ: usize = 64;

/// A connection to the stream.
pub struct Stream {
    connection: MultiplexedConnection,
    key: String,
}

/// An entry of the stream.
#[derive(Debug)]
pub struct Published {
    /// The row of the outbox.
    pub id: i64,
    /// The row before it.
    pub previous: i64,
    /// The epoch of both.
    pub epoch: Epoch,
    /// A JSON array of events.
    pub events: String,
}

impl Stream {
    /// Connects; answers may take `wait` longer than usual.
    pub async fn connect(config: &RedisConfig, wait: Duration) -> Result<Self, RedisError> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(wait + PATIENCE));
        let client = tls::redis_client(&config.url)?;
        let connection = client.get_multiplexed_async_connection_with_config(&settings).await?;
        // Raise the number when entries change their form.
        Ok(Self { connection, key: format!("{}:feed:1", config.prefix) })
    }

    /// The last entry, if there is one that can be read.
    pub async fn last(&mut self) -> Result<Option<Published>, RedisError> {
        let mut ask = redis::cmd("XREVRANGE");
        ask.arg(&self.key).arg("+").arg("-").arg("COUNT").arg(1);
        let reply: redis::streams::StreamRangeReply = ask.query_async(&mut self.connection).await?;
        Ok(reply.ids.iter().find_map(read))
    }

    /// Publishes rows that follow `previous`, in their order. One that is there already stays as it is.
    pub async fn publish(
        &mut self,
        epoch: Epoch,
        mut previous: i64,
        entries: &[Entry],
    ) -> Result<(), RedisError> {
        let mut commands = redis::pipe();
        for entry in entries {
            commands
                .cmd("XADD")
                .arg(&self.key)
                .arg("MAXLEN")
                .arg("~")
                .arg(KEPT)
                .arg(format!("{}-0", entry.id))
                .arg("epoch")
                .arg(epoch.0)
                .arg("previous")
                .arg(previous)
                .arg("events")
                .arg(&entry.events);
            previous = entry.id;
        }
        // The answers are taken one by one: that an entry is there already is an error of its own.
        commands.ignore_errors();
        let answers: Vec<Result<Value, RedisError>> = commands.query_async(&mut self.connection).await?;
        for error in answers.into_iter().filter_map(Result::err) {
            if !error.detail().is_some_and(|detail| detail.contains("equal or smaller")) {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Forgets the stream: its ids are of another epoch.
    pub async fn forget(&mut self) -> Result<(), RedisError> {
        redis::cmd("DEL").arg(&self.key).query_async(&mut self.connection).await
    }

    /// The entries after a row; waits for one at most so long.
    pub async fn read_after(&mut self, id: i64, wait: Duration) -> Result<Vec<Published>, RedisError> {
        let mut ask = redis::cmd("XREAD");
        ask.arg("COUNT").arg(READ).arg("BLOCK").arg(wait.as_millis().max(1) as u64);
        ask.arg("STREAMS").arg(&self.key).arg(format!("{id}-0"));
        let reply: Option<StreamReadReply> = ask.query_async(&mut self.connection).await?;
        let keys = reply.into_iter().flat_map(|reply| reply.keys);
        Ok(keys.flat_map(|key| key.ids).filter_map(|entry| read(&entry)).collect())
    }
}

/// An entry; `None` if it is not one of ours.
fn read(entry: &StreamId) -> Option<Published> {
    Some(Published {
        id: entry.id.split('-').next()?.parse().ok()?,
        previous: entry.get("previous")?,
        epoch: Epoch(entry.get("epoch")?),
        events: entry.get("events")?,
    })
}
