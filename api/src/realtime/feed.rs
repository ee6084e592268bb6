//! The feed of this process: the newest events, as its listeners get them. One task follows the stream while
//! anybody listens; a listener (`subscription`) keeps no queue of its own but a place in these events, so that
//! one who reads slowly costs no memory and delays nobody.
//!
//! An entry of the stream that does not follow what is known says that Redis has lost something: what is between
//! them is read from the outbox. So is everything, once a second, while Redis does not answer.

use axum::extract::ws::Utf8Bytes;
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use serde_json::value::RawValue;
use shared::{
    config::RedisConfig,
    feed::{
        Epoch, EventId,
        event::Facts,
        outbox::{self, Entry},
        stream::{Published, Stream},
    },
    metrics,
    runs::Environment,
};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Events that are kept for listeners, at most, and their bytes.
const KEPT: (usize, usize) = (20_000, 16 << 20);
/// Time between looks at the outbox while the stream says nothing.
const LOOK: Duration = Duration::from_secs(1);
/// Before a Redis that did not answer is asked again.
const PAUSE: Duration = Duration::from_secs(2);
/// Pause after an entry of the stream that does not follow what is known.
const MISFIT: Duration = Duration::from_millis(5);
/// Rows of the outbox that are read at a time.
const ROWS: i64 = 64;

/// An event as listeners get it.
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// What it is chosen by.
    pub facts: Facts,
    /// The JSON object, with its id.
    pub text: Utf8Bytes,
    /// What listeners of service B get of it; made when the first one does.
    pub plain: OnceLock<Option<Utf8Bytes>>,
}

/// The newest events, by their numbers in this process.
struct Ring {
    /// Known once somebody listens.
    epoch: Option<Epoch>,
    /// Counts the epochs that were begun while somebody listened.
    generation: u64,
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The number of the first of them.
    first: u64,
    /// Everything after this place is among them.
    floor: (i64, u32),
    /// The last row of the outbox that is known.
    last: i64,
}

impl Ring {
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }
}

/// The feed of a process; cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    env: Arc<Environment>,
    redis: Option<RedisConfig>,
    shutdown: CancellationToken,
    ring: Mutex<Ring>,
    /// Says that the ring has changed.
    changed: watch::Sender<()>,
    listeners: AtomicUsize,
    wanted: Notify,
    /// The task that follows is there.
    following: AtomicBool,
}

/// Being a listener.
pub(super) struct Listening(Feed);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.0.listeners.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Being the task that follows. However it ends, the next listener begins another.
struct Following(Feed);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.0.following.store(false, Ordering::SeqCst);
    }
}

/// What a listener finds at its place.
pub(super) enum Found {
    /// Events, and the number of the next one.
    Events(Vec<Arc<Event>>, u64),
    /// Nothing new.
    Nothing,
    /// So many are gone before it came to them; where it goes on.
    Gap(u64, u64),
    /// Another epoch has begun; where it goes on.
    Reset(u64),
}

impl Feed {
    /// The feed of a process. Nothing happens before somebody listens.
    pub fn new(env: Arc<Environment>, redis: Option<RedisConfig>, shutdown: CancellationToken) -> Self {
        let ring = Ring {
            epoch: None,
            generation: 0,
            events: VecDeque::new(),
            bytes: 0,
            first: 0,
            floor: (0, 0),
            last: 0,
        };
        Self(Arc::new(Inner {
            env,
            redis,
            shutdown,
            ring: Mutex::new(ring),
            changed: watch::Sender::new(()),
            listeners: AtomicUsize::new(0),
            wanted: Notify::new(),
            following: AtomicBool::new(false),
        }))
    }

    /// How many listen.
    pub fn listeners(&self) -> usize {
        self.0.listeners.load(Ordering::SeqCst)
    }

    /// The server's means.
    pub(super) fn env(&self) -> &Environment {
        &self.0.env
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    pub(super) fn listen(&self) -> Listening {
        self.0.listeners.fetch_add(1, Ordering::SeqCst);
        if !self.0.following.swap(true, Ordering::SeqCst) {
            let feed = self.clone();
            tokio::spawn(async move {
                let _following = Following(feed.clone());
                tokio::select! {
                    () = feed.0.shutdown.cancelled() => {}
                    () = feed.follow() => {}
                }
            });
        }
        self.0.wanted.notify_one();
        Listening(self.clone())
    }

    /// The epoch and its count, the number of the next event, and the id of the last one; `None` until the outbox
    /// has been looked at.
    pub(super) fn head(&self) -> Option<(Epoch, u64, u64, EventId)> {
        let ring = self.ring();
        let epoch = ring.epoch?;
        let last = ring.events.back().map_or(
            // Nobody will hear an event of this row again.
            EventId { epoch, entry: ring.last, index: u32::MAX },
            |event| event.id,
        );
        Some((epoch, ring.generation, ring.end(), last))
    }

    /// The number of the event after a place, if all that came after it is here.
    pub(super) fn number_after(&self, place: (i64, u32)) -> Option<u64> {
        let ring = self.ring();
        if place < ring.floor {
            return None;
        }
        Some(ring.first + ring.events.partition_point(|event| event.id.place() <= place) as u64)
    }

    /// What there is from a number on, at most so many.
    pub(super) fn find(&self, generation: u64, number: u64, most: usize) -> Found {
        let ring = self.ring();
        if ring.generation != generation {
            return Found::Reset(ring.end());
        }
        if number < ring.first {
            // Who was left behind is served best with what happens now.
            return Found::Gap(ring.end() - number, ring.end());
        }
        let from = usize::try_from(number - ring.first).unwrap_or(usize::MAX).min(ring.events.len());
        let events: Vec<Arc<Event>> = ring.events.range(from..).take(most).cloned().collect();
        match events.len() {
            0 => Found::Nothing,
            count => Found::Events(events, number + count as u64),
        }
    }

    /// Follows the stream while anybody listens.
    async fn follow(&self) {
        let mut stream: Option<Stream> = None;
        let (mut not_before, mut looked) = (Instant::now(), None::<Instant>);
        loop {
            if self.forgotten() {
                (stream, looked) = (None, None);
                self.0.wanted.notified().await;
                continue;
            }
            if looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
                if let Err(error) = self.look().await {
                    tracing::warn!("the feed's outbox cannot be read: {error:#}");
                    tokio::time::sleep(LOOK).await;
                    continue;
                }
                looked = Some(Instant::now());
            }
            if stream.is_none()
                && let Some(redis) = self.0.redis.as_ref().filter(|_| Instant::now() >= not_before)
            {
                match Stream::connect(redis, LOOK).await {
                    Ok(opened) => stream = Some(opened),
                    Err(error) => {
                        tracing::debug!(%error, "the feed's stream is away; the outbox is read each second");
                        not_before = Instant::now() + PAUSE;
                    }
                }
            }
            let Some(open) = &mut stream else {
                tokio::time::sleep(LOOK).await;
                continue;
            };
            let last = self.ring().last;
            match open.read_after(last, LOOK).await {
                Ok(published) => {
                    looked = None;
                    if !published.is_empty() {
                        if self.take(published) {
                            looked = Some(Instant::now());
                        } else {
                            // An entry that never fits is not asked for without end.
                            tokio::time::sleep(MISFIT).await;
                        }
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "the feed's stream does not answer");
                    (stream, not_before) = (None, Instant::now() + PAUSE);
                }
            }
        }
    }

    /// Forgets the events if nobody listens: what is not followed is not known. A listener counts before it looks at
    /// them, so it looks at none that are about to be forgotten.
    fn forgotten(&self) -> bool {
        let mut ring = self.ring();
        let alone = self.listeners() == 0;
        if alone {
            ring.epoch = None;
        }
        alone
    }

    /// Takes entries that follow what is known; whether all did.
    fn take(&self, published: Vec<Published>) -> bool {
        let mut ring = self.ring();
        for entry in published {
            if ring.epoch != Some(entry.epoch) || entry.previous != ring.last {
                drop(ring);
                self.0.changed.send_replace(());
                return false;
            }
            push(&mut ring, entry.epoch, entry.id, &entry.events, self.0.env.clock.now());
        }
        drop(ring);
        self.0.changed.send_replace(());
        true
    }

    /// Reads what the outbox has beyond what is known; at first, its newest rows.
    async fn look(&self) -> anyhow::Result<()> {
        let mut pooled = self.0.env.pool.get().await?;
        let conn: &mut AsyncPgConnection = &mut pooled;
        loop {
            let (epoch, last) = {
                let ring = self.ring();
                (ring.epoch, ring.last)
            };
            let extent = outbox::extent(conn).await?;
            if epoch != Some(extent.epoch()) {
                self.begin(conn, extent).await?;
                return Ok(());
            }
            if extent.last.unwrap_or(0) < last {
                // Younger than what was told of it.
                outbox::renew_if_behind(conn, extent.epoch(), last).await?;
                return Ok(());
            }
            if extent.last.unwrap_or(0) == last {
                return Ok(());
            }
            if last > 0 && !extent.covers(last) {
                // Away for longer than events are kept.
                self.begin(conn, extent).await?;
                return Ok(());
            }
            let entries = outbox::entries_after(conn, last, ROWS).await?;
            let now = self.0.env.clock.now();
            {
                let mut ring = self.ring();
                entries
                    .iter()
                    .for_each(|entry| push(&mut ring, extent.epoch(), entry.id, &entry.events, now));
            }
            self.0.changed.send_replace(());
        }
    }

    /// Begins with the newest rows of the outbox; listeners are told that what they had is void, if they had any.
    async fn begin(&self, conn: &mut AsyncPgConnection, extent: outbox::Extent) -> anyhow::Result<()> {
        let newest = outbox::newest_entries(conn, ROWS).await?;
        let mut ring = self.ring();
        if ring.epoch.is_some() {
            ring.generation += 1;
        }
        ring.first = ring.end();
        ring.events.clear();
        (ring.epoch, ring.bytes) = (Some(extent.epoch()), 0);
        let before = newest.first().map_or(extent.last.unwrap_or(0), |entry| entry.id - 1);
        (ring.last, ring.floor) = (before, (before, u32::MAX));
        for entry in newest {
            push_known(&mut ring, extent.epoch(), entry.id, &entry.events);
        }
        drop(ring);
        self.0.changed.send_replace(());
        Ok(())
    }
}

/// Adds a row that has just come.
fn push(ring: &mut Ring, epoch: Epoch, entry: i64, events: &str, now: DateTime<Utc>) {
    for event in push_known(ring, epoch, entry, events) {
        metrics::feed_event(event.and_then(|at| (now - at).to_std().ok()));
    }
}

/// Adds a row; when each of its events was told.
fn push_known(ring: &mut Ring, epoch: Epoch, entry: i64, events: &str) -> Vec<Option<DateTime<Utc>>> {
    if entry <= ring.last {
        return Vec::new();
    }
    ring.last = entry;
    let events = read(epoch, entry, events);
    let told = events.iter().map(|event| event.facts.at).collect();
    for event in events {
        ring.bytes += event.text.len();
        ring.events.push_back(Arc::new(event));
    }
    while ring.events.len() > KEPT.0 || ring.bytes > KEPT.1 {
        let Some(oldest) = ring.events.pop_front() else { break };
        ring.bytes -= oldest.text.len();
        ring.floor = oldest.id.place();
        ring.first += 1;
    }
    told
}

/// The events of a row; what this version does not know is left out.
fn read(epoch: Epoch, entry: i64, events: &str) -> Vec<Event> {
    let Ok(written) = serde_json::from_str::<Vec<&RawValue>>(events) else {
        tracing::error!(entry, "row {entry} of the feed's outbox cannot be read");
        return Vec::new();
    };
    (0..)
        .zip(written)
        .filter_map(|(index, event)| {
            let id = EventId { epoch, entry, index };
            let facts = Facts::read(event.get())?;
            let text = format!("{{\"id\":\"{id}\",{}", event.get().strip_prefix('{')?);
            Some(Event { id, facts, text: text.into(), plain: OnceLock::new() })
        })
        .collect()
}

/// The events of rows that are read for one listener.
pub(super) fn read_entries(epoch: Epoch, entries: &[Entry]) -> Vec<Arc<Event>> {
    entries.iter().flat_map(|entry| read(epoch, entry.id, &entry.events)).map(Arc::new).collect()
}
