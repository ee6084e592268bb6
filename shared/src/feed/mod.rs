//! The feed: what live transactions and settlements tell. The transaction that loads or settles writes its events
//! into the outbox (`event`); the ids of the outbox are in the order of the commits. One publisher, woken by
//! PostgreSQL's notification (`listener`), puts each row on a Redis stream (`stream`), where the processes that
//! serve listeners wait for it. Each entry of the stream names the outbox's row before it, so whoever misses one
//! knows, and reads it from the outbox (`outbox`): Redis makes the feed fast, and losing it loses nothing.

pub mod event;
mod id;
pub mod listener;
pub mod outbox;
pub mod stream;

pub use event::{commit_telling, commit_transactions};
pub use id::{Epoch, EventId};
