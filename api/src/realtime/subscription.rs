//! A listener's way through the feed: first what it missed, then what happens.

use super::feed::{Event, Feed, Found, Listening, read_entries};
use crate::error::{ApiError, ApiResult};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use shared::{
    feed::{Epoch, EventId, outbox},
    metrics,
    transactions::{TransactionKind, TransactionStatus},
};
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::watch;
use utoipa::ToSchema;

/// Events that are handed over at a time.
const AT_A_TIME: usize = 256;
/// Rows of the outbox that are read at a time for one who was away.
const ROWS: i64 = 16;

/// Which events a listener wants: those for which all that is given holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Only of this client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Only of this merchant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merchant_id: Option<String>,
    /// Only of this kind; of a trade its side.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "payment")]
    pub kind: Option<TransactionKind>,
    /// Only with this status; a settled trade is a success, a rejected one failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "success")]
    pub status: Option<TransactionStatus>,
    /// Only of at least so much, in whatever currency; as a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "100.00")]
    pub min_amount: Option<Decimal>,
}

impl Filter {
    /// Whether it lets an event through.
    pub(super) fn admits(&self, event: &Event) -> bool {
        let facts = &event.facts;
        self.client_id.as_ref().is_none_or(|client| *client == facts.client_id)
            && (self.merchant_id.is_none() || self.merchant_id == facts.merchant_id)
            && (self.kind.is_none() || self.kind == facts.kind)
            && (self.status.is_none() || self.status == facts.status)
            && self.min_amount.is_none_or(|least| facts.amount.is_some_and(|amount| amount >= least))
    }
}

/// Why a listener cannot go on where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// The id is of another epoch: the feed has begun anew.
    Epoch,
    /// What came after it is no longer kept.
    TooOld,
    /// No such event was told yet: the listener is ahead of the record.
    Unknown,
}

/// What a listener is told.
pub enum Told {
    /// The first thing: from where it listens.
    Hello {
        /// The id after which it gets everything that its filter admits.
        after: EventId,
    },
    /// An event.
    Event(Arc<Event>),
    /// It read too slowly: it misses so many events, of which its filter may have left out some.
    Gap {
        /// How many.
        missed: u64,
    },
    /// It cannot have what came after the id that it named: it must read everything anew.
    Reset {
        /// Why.
        reason: ResetReason,
    },
}

/// Where a listener stands.
enum Place {
    /// It reads from the outbox what came after this place.
    Before((i64, u32)),
    /// It waits for the event with this number.
    At(u64),
}

/// A listener.
pub struct Subscription {
    feed: Feed,
    /// What it wants.
    pub filter: Filter,
    place: Place,
    epoch: Epoch,
    generation: u64,
    /// It has what came up to here. Another process may have told it what this one has yet to hear.
    told: (i64, u32),
    changed: watch::Receiver<()>,
    /// What it is told before anything else.
    first: VecDeque<Told>,
    _listening: Listening,
}

impl Feed {
    /// Listens: to what comes after `since`, or from now on.
    pub async fn subscribe(&self, since: Option<EventId>, filter: Filter) -> ApiResult<Subscription> {
        let listening = self.listen();
        let mut changed = self.watch();
        let head = async {
            loop {
                if let Some(head) = self.head() {
                    return head;
                }
                // The sender lives as long as the feed.
                let _ = changed.changed().await;
            }
        };
        let begun = tokio::time::timeout(std::time::Duration::from_secs(10), head).await;
        let (epoch, generation, end, last) =
            begun.map_err(|_| ApiError::unavailable("feed", "the outbox was not read within ten seconds"))?;
        let mut first = VecDeque::new();
        let place = match since {
            None => Place::At(end),
            Some(since) if since.epoch != epoch => {
                metrics::feed_notice("reset");
                first.push_back(Told::Reset { reason: ResetReason::Epoch });
                Place::At(end)
            }
            Some(since) => match self.number_after(since.place()) {
                Some(number) if since.place() <= last.place() => Place::At(number),
                // Of before what is here, or told by another process that was quicker: the outbox knows.
                number => {
                    let mut conn = self.env().pool.get().await?;
                    let extent = outbox::extent(&mut conn).await?;
                    let reason = match number {
                        Some(_) => (extent.last.unwrap_or(0) < since.entry).then_some(ResetReason::Unknown),
                        None => (!extent.covers(since.entry)).then_some(ResetReason::TooOld),
                    };
                    if let Some(reason) = reason {
                        metrics::feed_notice("reset");
                        first.push_back(Told::Reset { reason });
                    }
                    match (reason, number) {
                        (Some(_), _) => Place::At(end),
                        (None, Some(number)) => Place::At(number),
                        (None, None) => Place::Before(since.place()),
                    }
                }
            },
        };
        let after = since.filter(|_| first.is_empty()).unwrap_or(last);
        first.push_front(Told::Hello { after });
        Ok(Subscription {
            feed: self.clone(),
            filter,
            place,
            epoch,
            generation,
            told: after.place(),
            changed,
            first,
            _listening: listening,
        })
    }
}

impl Subscription {
    /// What comes next, at least one thing; an error if the outbox cannot be read. Nothing is lost by a caller
    /// that stops to wait.
    pub async fn next(&mut self) -> ApiResult<Vec<Told>> {
        loop {
            if !self.first.is_empty() {
                return Ok(self.first.drain(..).collect());
            }
            let told = match self.place {
                Place::Before(place) => self.missed(place).await?,
                Place::At(number) => {
                    // Marked before it is looked: what comes between is not slept through.
                    self.changed.mark_unchanged();
                    match self.feed.find(self.generation, number, AT_A_TIME) {
                        Found::Nothing => {
                            let _ = self.changed.changed().await;
                            continue;
                        }
                        Found::Events(events, next) => {
                            self.place = Place::At(next);
                            self.admitted(events)
                        }
                        Found::Gap(missed, next) => {
                            metrics::feed_notice("gap");
                            self.place = Place::At(next);
                            vec![Told::Gap { missed }]
                        }
                        Found::Reset(next) => {
                            self.place = Place::At(next);
                            self.reset()
                        }
                    }
                }
            };
            if !told.is_empty() {
                return Ok(told);
            }
        }
    }

    /// Reads on after a place, until the feed of this process has all that follows.
    async fn missed(&mut self, place: (i64, u32)) -> ApiResult<Vec<Told>> {
        if let Some(number) = self.feed.number_after(place) {
            self.place = Place::At(number);
            return Ok(Vec::new());
        }
        let mut conn = self.feed.env().pool.get().await?;
        let extent = outbox::extent(&mut conn).await?;
        if extent.epoch() != self.epoch || !extent.covers(place.0) {
            return Ok(self.reset());
        }
        // The row of the place itself, too: it may have more events.
        let entries = outbox::entries_after(&mut conn, place.0 - 1, ROWS).await?;
        let last = entries.last().map_or(place, |entry| (entry.id, u32::MAX));
        self.place = Place::Before(last);
        let events = read_entries(extent.epoch(), &entries);
        Ok(self.admitted(events))
    }

    /// The new ones among some events that it wants.
    fn admitted(&mut self, mut events: Vec<Arc<Event>>) -> Vec<Told> {
        events.retain(|event| event.id.place() > self.told);
        if let Some(last) = events.last() {
            self.told = last.id.place();
        }
        events.into_iter().filter(|event| self.filter.admits(event)).map(Told::Event).collect()
    }

    /// Goes on with what happens now.
    fn reset(&mut self) -> Vec<Told> {
        metrics::feed_notice("reset");
        let mut reason = ResetReason::TooOld;
        // Until the feed is known again it stays where it is.
        if let Some((epoch, generation, end, last)) = self.feed.head() {
            if epoch != self.epoch {
                reason = ResetReason::Epoch;
            }
            (self.place, self.epoch, self.generation) = (Place::At(end), epoch, generation);
            self.told = last.place();
        }
        vec![Told::Reset { reason }]
    }
}
