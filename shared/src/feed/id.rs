//! Ids of events.

use std::{fmt, str::FromStr};

/// Ids are comparable within an epoch only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(pub i64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

/// An event's id: `{epoch}-{row of the outbox}-{place in it}`, ascending in the order of commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId {
    /// Of which epoch.
    pub epoch: Epoch,
    /// The outbox's row.
    pub entry: i64,
    /// The place in it, from 0.
    pub index: u32,
}

impl EventId {
    /// Its place within the epoch.
    pub fn place(&self) -> (i64, u32) {
        (self.entry, self.index)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.epoch, self.entry, self.index)
    }
}

/// A text that is no id of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event's id is like 3f9a1c7b2d4e-1234-0, as the feed wrote it")]
pub struct NoEventId;

impl FromStr for EventId {
    type Err = NoEventId;

    fn from_str(text: &str) -> Result<Self, NoEventId> {
        let mut parts = text.split('-');
        let mut next = || parts.next().ok_or(NoEventId);
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let (epoch, entry, index) = (next()?, next()?, next()?);
        if parts.next().is_some() || epoch.len() != 12 || !digits(entry) || !digits(index) {
            return Err(NoEventId);
        }
        Ok(Self {
            epoch: Epoch(i64::from_str_radix(epoch, 16).map_err(|_| NoEventId)?),
            entry: entry.parse().map_err(|_| NoEventId)?,
            index: index.parse().map_err(|_| NoEventId)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = EventId { epoch: Epoch(0x3f9a_1c7b_2d4e), entry: 1234, index: 7 };
        assert_eq!(id.to_string(), "3f9a1c7b2d4e-1234-7");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in
            ["", "1-2", "3f9a1c7b2d4e-1-2-3", "3f9a1c7b2d4e--1", "3f9a1c7b2d4g-1-1", "3f9a1c7b2d4e-+1-1"]
        {
            assert_eq!(text.parse::<EventId>(), Err(NoEventId), "{text}");
        }
    }
}
