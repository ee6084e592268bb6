//! How many messages a process gives to one provider, or endpoint, at once: one that hangs must not take
//! every slot. Those for whom there is no seat are told when one may be free, one behind the other, so that a
//! thousand that wait do not all ask again at the same moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A healthy one has so many at once, at most.
const HEALTHY: usize = 32;
/// One that has failed last has so many.
const TROUBLED: usize = 4;
/// The shortest and the longest that somebody is sent away for.
const AWAY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));

/// Who sits where.
#[derive(Clone, Default)]
pub(super) struct Seats(Arc<Mutex<HashMap<String, Row>>>);

struct Row {
    taken: usize,
    /// How long one sits, about.
    takes: Duration,
    /// Until when the seats are promised.
    promised: Instant,
}

/// A seat; it is free again when this is dropped.
pub(super) struct Seat {
    seats: Seats,
    name: String,
    since: Instant,
}

impl Seats {
    fn rows(&self) -> MutexGuard<'_, HashMap<String, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat, or when to ask again.
    pub fn take(&self, name: &str, troubled: bool) -> Result<Seat, Duration> {
        let (limit, now) = (if troubled { TROUBLED } else { HEALTHY }, Instant::now());
        let mut rows = self.rows();
        let row = rows.entry(name.to_owned()).or_insert(Row {
            taken: 0,
            takes: Duration::from_secs(1),
            promised: now,
        });
        if row.taken < limit {
            row.taken += 1;
            drop(rows);
            return Ok(Seat { seats: self.clone(), name: name.to_owned(), since: now });
        }
        row.promised = row.promised.max(now) + row.takes / limit as u32;
        Err((row.promised - now).clamp(AWAY.0, AWAY.1))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut rows = self.seats.rows();
        if let Some(row) = rows.get_mut(&self.name) {
            row.taken = row.taken.saturating_sub(1);
            row.takes = (row.takes * 7 + self.since.elapsed()) / 8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_no_seat_comes_back_one_after_the_other() {
        let seats = Seats::default();
        let sitting: Vec<_> = (0..TROUBLED).map(|_| seats.take("sms/x", true)).collect();
        assert!(sitting.iter().all(Result::is_ok));
        let waits: Vec<_> = (0..8).filter_map(|_| seats.take("sms/x", true).err()).collect();
        assert_eq!(waits.len(), 8);
        assert!(waits.is_sorted() && waits[7] > waits[0]);
        assert!(seats.take("sms/y", true).is_ok(), "others have seats of their own");
        drop(sitting);
        assert!(seats.take("sms/x", true).is_ok());
    }
}
