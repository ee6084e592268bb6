//! How many messages a process gives to one provider, or endpoint, at once: one that hangs must not take
//! every slot. It has few until it gives some back, then one more with each. Where seats keep becoming free one is
//! waited for, first come, first served; where they do not, who comes is told when to come back, one behind the
//! other, so that a thousand that wait do not all ask again at the same moment.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// So many at once has one of which nothing is known.
const FIRST: usize = 8;
/// So many has a healthy one, at most.
const HEALTHY: usize = 32;
/// So many has one that has failed last.
const TROUBLED: usize = 4;
/// Where no seat became free for so long, or for twice as long as one sits (but [`PATIENCE`] at most), none is waited
/// for.
const STUCK: Duration = Duration::from_millis(100);
/// Where seats do become free, one is waited for about so long. Who is sent away comes back when the worker looks for
/// what is due, once a second: with less patience seats would be empty for the rest of it.
const PATIENCE: Duration = Duration::from_secs(1);
/// The shortest and the longest that somebody is sent away for.
const AWAY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));
/// While its pace is a guess, nobody is sent away for longer than so many times as long as it has been silent, but for
/// a second at least: one that is only slow is soon seen to work.
const GUESS: (u32, Duration) = (8, Duration::from_secs(1));

/// Who sits where.
#[derive(Clone, Default)]
pub(super) struct Seats(Arc<Mutex<HashMap<String, Row>>>);

struct Row {
    /// The seats of a healthy one; some are free, `limit` there are.
    seats: Arc<Semaphore>,
    limit: usize,
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
    row: Seats,
    name: String,
    since: Instant,
    /// Of the seats that a healthy one has.
    permit: Option<OwnedSemaphorePermit>,
}

/// When to ask again, behind those who were told so before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Later {
    pub wait: Duration,
    /// After how long the next may ask.
    pub pace: Duration,
    /// The longest that somebody who waits as well is to be sent away for.
    pub longest: Duration,
}

impl Row {
    fn new(now: Instant) -> Self {
        Self {
            seats: Arc::new(Semaphore::new(FIRST)),
            limit: FIRST,
            taken: 0,
            left: now,
            takes: Duration::ZERO,
            promised: now,
        }
    }

    /// Nobody has left for a while, and there is no seat.
    fn is_stuck(&self) -> bool {
        self.seats.available_permits() == 0 && self.left.elapsed() > (self.takes * 2).clamp(STUCK, PATIENCE)
    }

    fn promise(&mut self, limit: usize) -> Later {
        let now = Instant::now();
        let silent = now - self.left;
        let pace = self.takes.max(silent) / limit as u32;
        self.promised = self.promised.max(now) + pace;
        let longest = longest(limit, silent);
        Later { wait: (self.promised - now).clamp(AWAY.0, longest), pace, longest }
    }
}

/// The longest that somebody is sent away for.
fn longest(limit: usize, silent: Duration) -> Duration {
    let guessed = (FIRST..HEALTHY).contains(&limit);
    if guessed { (silent * GUESS.0).clamp(GUESS.1, AWAY.1) } else { AWAY.1 }
}

impl Seats {
    fn rows(&self) -> MutexGuard<'_, HashMap<String, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `look` makes of a row.
    fn at<T>(&self, name: &str, look: impl FnOnce(&mut Row) -> T) -> T {
        look(self.rows().entry(name.to_owned()).or_insert_with(|| Row::new(Instant::now())))
    }

    /// A seat, at once or in a moment; or when to ask again.
    pub async fn take(&self, name: &str, troubled: bool) -> Result<Seat, Later> {
        if troubled {
            return self.at(name, |row| {
                if row.limit > FIRST {
                    (row.seats, row.limit) = (Arc::new(Semaphore::new(FIRST)), FIRST);
                }
                if row.taken < TROUBLED { Ok(self.sit(name, row, None)) } else { Err(row.promise(TROUBLED)) }
            });
        }
        let mut seat = pin!(self.at(name, |row| row.seats.clone()).acquire_owned());
        let since = Instant::now();
        let permit = loop {
            let stuck = self.at(name, |row| row.is_stuck());
            // A seat that is free is taken all the same.
            match timeout(if stuck { Duration::ZERO } else { STUCK }, &mut seat).await {
                Ok(permit) => break permit.ok(),
                Err(_) if stuck || since.elapsed() >= PATIENCE => break None,
                Err(_) => {}
            }
        };
        self.at(name, |row| match permit {
            Some(permit) => Ok(self.sit(name, row, Some(permit))),
            None => Err(row.promise(row.limit)),
        })
    }

    fn sit(&self, name: &str, row: &mut Row, permit: Option<OwnedSemaphorePermit>) -> Seat {
        let now = Instant::now();
        if row.taken == 0 {
            row.left = now;
        }
        row.taken += 1;
        Seat { row: self.clone(), name: name.to_owned(), since: now, permit }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut rows = self.row.rows();
        let Some(row) = rows.get_mut(&self.name) else { return };
        row.taken = row.taken.saturating_sub(1);
        row.left = Instant::now();
        let sat = self.since.elapsed();
        row.takes = if row.takes.is_zero() { sat } else { (row.takes * 7 + sat) / 8 };
        let current = self.permit.as_ref().is_some_and(|permit| Arc::ptr_eq(permit.semaphore(), &row.seats));
        if current && row.limit < HEALTHY {
            row.limit += 1;
            row.seats.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn seat(seats: &Seats, troubled: bool) -> Seat {
        match seats.take("sms/x", troubled).await {
            Ok(seat) => seat,
            Err(later) => panic!("no seat: {later:?}"),
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
        seats.at("sms/x", |row| row.takes = Duration::from_secs(10));
        for _ in 0..8 {
            waits.push(seats.take("sms/x", true).await.err().expect("no seat").wait);
        }
        assert!(waits.is_sorted() && waits[7] > waits[0], "{waits:?}");
        assert!(seats.take("sms/y", true).await.is_ok(), "others have seats of their own");
        drop(sitting);
        assert!(seats.take("sms/x", true).await.is_ok());
    }

    #[tokio::test]
    async fn one_that_gives_none_back_has_few_and_one_that_works_has_more() {
        let seats = Seats::default();
        let mut silent = Vec::new();
        for _ in 0..FIRST {
            silent.push(seat(&seats, false).await);
        }
        let later = seats.take("sms/x", false).await.err().expect("no more than the first");
        assert!(later.wait >= AWAY.0 && later.pace >= STUCK / FIRST as u32, "{later:?}");
        assert_eq!(later.longest, GUESS.1, "it may only be slow");
        assert_eq!(longest(FIRST, Duration::from_secs(2)), Duration::from_secs(16));
        assert_eq!(longest(FIRST, Duration::from_secs(20)), AWAY.1);
        let since = Instant::now();
        assert!(seats.take("sms/x", false).await.is_err());
        assert!(since.elapsed() < STUCK, "nobody waits where nothing moves");
        seats.at("sms/x", |row| {
            let ago = |milliseconds| Instant::now() - Duration::from_millis(milliseconds);
            row.left = ago(500);
            assert!(row.is_stuck());
            // As after many that it let wait in vain.
            row.takes = Duration::from_secs(60);
            assert!(!row.is_stuck(), "one sits that long");
            row.left = ago(1500);
            assert!(row.is_stuck(), "nobody waits without end");
        });
        drop(silent);
        let mut sitting = Vec::new();
        for _ in 0..HEALTHY {
            drop(seat(&seats, false).await);
        }
        for _ in 0..HEALTHY {
            sitting.push(seat(&seats, false).await);
        }
        let later = seats.take("sms/x", false).await.err().expect("all are taken");
        assert_eq!(later.longest, AWAY.1, "its pace is known");
        // One failure, and it begins anew.
        assert!(seats.take("sms/x", true).await.is_err());
        drop(sitting);
        assert_eq!(seats.at("sms/x", |row| (row.limit, row.taken)), (FIRST, 0));
    }

    #[tokio::test]
    async fn where_seats_become_free_who_came_first_has_the_first() {
        let seats = Seats::default();
        let mut sitting = Vec::new();
        for _ in 0..FIRST {
            sitting.push(seat(&seats, false).await);
        }
        seats.at("sms/x", |row| row.limit = HEALTHY);
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for number in 0..3 {
            let (seats, order) = (seats.clone(), order.clone());
            waiting.push(tokio::spawn(async move {
                let seat = seats.take("sms/x", false).await;
                order.lock().unwrap_or_else(PoisonError::into_inner).push(number);
                seat.is_ok()
            }));
            tokio::task::yield_now().await;
        }
        sitting.pop();
        for task in waiting {
            assert!(task.await.expect("it ends"));
        }
        assert_eq!(*order.lock().unwrap_or_else(PoisonError::into_inner), [0, 1, 2]);
    }
}
