//! Answers that are read in haste, kept in Redis as JSON. Never stale: a reader that begins after a change was
//! committed sees the change, whatever fails.
//!
//! What is kept belongs to a [`Topic`], and is of use only under the topic's token. Who changes a topic blocks
//! its token before the commit and gives it another after it (`writing`): while it is blocked nobody reads or
//! keeps anything, and what somebody kept under the old token, however late, is never found again. A writer to
//! which Redis does not answer says so in PostgreSQL, and waits until every reader has heard it (`trust`).
//! Redis itself may forget what it was told last when it dies: its start is part of what is expected of each
//! kept answer (`link`). Without Redis there is no cache, and nothing to invalidate: all processes of an
//! installation have the same Redis, or none.

mod link;
mod reading;
mod trust;
mod writing;

pub use trust::renew_epoch;
pub use writing::Changing;

use crate::config::RedisConfig;
use link::Link;
use std::sync::Arc;
use trust::Trust;

/// What is changed, and forgotten, together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Everything: what moves many accounts at once.
    All,
    /// A client by its username.
    User(String),
    /// A stock by its ticker.
    Stock(String),
    /// The list of stocks.
    Stocks,
    /// The settled trades of a client.
    Trades(String),
}

impl Topic {
    /// What is counted.
    const fn word(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::User(_) => "user",
            Self::Stock(_) => "stock",
            Self::Stocks => "stocks",
            Self::Trades(_) => "trades",
        }
    }

    fn key(&self, prefix: &str) -> String {
        let word = self.word();
        // Raise the number when what is kept changes its form.
        match self {
            Self::All | Self::Stocks => format!("{prefix}:cache:1:{word}"),
            Self::User(of) | Self::Stock(of) | Self::Trades(of) => format!("{prefix}:cache:1:{word}:{of}"),
        }
    }
}

/// The cache of a process.
pub struct Cache {
    /// None without Redis.
    link: Option<Arc<Link>>,
    trust: Trust,
}

impl Cache {
    /// Keeps answers in this Redis, or none.
    pub fn new(redis: Option<RedisConfig>) -> Self {
        Self { link: redis.map(|redis| Arc::new(Link::new(redis))), trust: Trust::default() }
    }
}
