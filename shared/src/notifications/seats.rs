//! How many messages a process gives to one provider, or endpoint, at once: one that hangs must not take
//! every slot. Where seats keep becoming free one is waited for; where they do not, who comes is told when to
//! come back, one behind the other, so that a thousand that wait do not all ask again at the same moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A healthy one has so many at once, at most.
const HEALTHY: usize = 32;
/// One that has failed last has so many.
const TROUBLED: usize = 4;
/// Where no seat became free for so long, none is waited for; nor is it for longer than that.
const STUCK: Duration = Duration::from_millis(250);
/// Between two looks for a seat.
const LOOK: Duration = Duration::from_millis(5);
/// The shortest and the longest that somebody is sent away for.
pub(super) const AWAY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));

/// Who sits where.
#[derive(Clone, Default)]
pub(super) struct Seats(Arc<Mutex<HashMap<String, Row>>>);

struct Row {
    taken: usize,
    /// When a seat became free last.
    left: Instant,
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

    /// A seat, at once or in a moment; or when to ask again.
    pub async fn take(&self, name: &str, troubled: bool) -> Result<Seat, Duration> {
        let since = Instant::now();
        loop {
            let wait = match self.try_take(name, troubled) {
                Ok(seat) => return Ok(seat),
                Err(None) if since.elapsed() < STUCK => LOOK,
                Err(_) => return Err(self.promise(name, troubled)),
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// A seat if one is free; `Err(Some(()))` if none is waited for.
    fn try_take(&self, name: &str, troubled: bool) -> Result<Seat, Option<()>> {
        let (limit, now) = (limit(troubled), Instant::now());
        let mut rows = self.rows();
        let row = rows.entry(name.to_owned()).or_insert(Row {
            taken: 0,
            left: now,
            takes: Duration::ZERO,
            promised: now,
        });
        if row.taken >= limit {
            let stuck = troubled || now - row.left > STUCK;
            return Err(stuck.then_some(()));
        }
        if row.taken == 0 {
            row.left = now;
        }
        row.taken += 1;
        drop(rows);
        Ok(Seat { seats: self.clone(), name: name.to_owned(), since: now })
    }

    /// When to ask again: behind those who were told so before.
    fn promise(&self, name: &str, troubled: bool) -> Duration {
        let (limit, now) = (limit(troubled), Instant::now());
        let mut rows = self.rows();
        let Some(row) = rows.get_mut(name) else { return AWAY.0 };
        let takes = row.takes.max(now - row.left);
        row.promised = row.promised.max(now) + takes / limit as u32;
        (row.promised - now).clamp(AWAY.0, AWAY.1)
    }
}

fn limit(troubled: bool) -> usize {
    if troubled { TROUBLED } else { HEALTHY }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut rows = self.seats.rows();
        if let Some(row) = rows.get_mut(&self.name) {
            row.taken = row.taken.saturating_sub(1);
            row.left = Instant::now();
            row.takes = (row.takes * 7 + self.since.elapsed()) / 8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn seat(seats: &Seats, troubled: bool) -> Seat {
        match seats.take("sms/x", troubled).await {
            Ok(seat) => seat,
            Err(wait) => panic!("no seat for {wait:?}"),
        }
    }

    #[tokio::test]
    async fn who_finds_no_seat_comes_back_one_after_the_other() {
        let seats = Seats::default();
        let mut sitting = Vec::new();
        for _ in 0..TROUBLED {
            sitting.push(seat(&seats, true).await);
        }
        let mut waits = Vec::new();
        seats.rows().get_mut("sms/x").expect("a row").takes = Duration::from_secs(10);
        for _ in 0..8 {
            waits.push(seats.take("sms/x", true).await.err().expect("no seat"));
        }
        assert!(waits.is_sorted() && waits[7] > waits[0], "{waits:?}");
        assert!(seats.take("sms/y", true).await.is_ok(), "others have seats of their own");
        drop(sitting);
        assert!(seats.take("sms/x", true).await.is_ok());
    }

    #[tokio::test]
    async fn where_seats_become_free_one_is_waited_for() {
        let seats = Seats::default();
        let mut sitting = Vec::new();
        for _ in 0..HEALTHY {
            sitting.push(seat(&seats, false).await);
        }
        let waiting = tokio::spawn({
            let seats = seats.clone();
            async move { seats.take("sms/x", false).await.is_ok() }
        });
        tokio::task::yield_now().await;
        sitting.pop();
        assert!(waiting.await.expect("it ends"));
    }
}
