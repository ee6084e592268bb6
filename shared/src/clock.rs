//! The one place that asks the operating system for the time (clippy bans it elsewhere), so that
//! tests can set it. Leases and due times never use it: they follow the database's clock.

use chrono::{DateTime, Utc};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The current instant.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the clock is where the time comes from")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}
