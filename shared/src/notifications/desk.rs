//! What a process has for sending messages: its providers, what it knows of their circuits, and where
//! deliveries meet to be read and written together.

use super::{
    circuits::Circuits,
    model::Channel,
    providers::{Guard, Named, NamedError},
    recording::{self, Beginning, Claim, Ended, Failure, Look},
    seats::Seats,
};
use crate::{
    config::NotificationsConfig,
    db::is_outage_of,
    gather::{AskError, Gatherer},
    ids::DeliveryId,
    runs::{Closed, Environment, JobError},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Deliveries that are read, or written, together, at most.
const TOGETHER: usize = 200;
/// Between two times that what waits for a circuit is put off, where many were turned away meanwhile; and where few
/// were: to look for others costs as much as to turn many away.
const PUT_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// So many are many.
const MANY: u32 = 64;
/// Deliveries that may wait for that; a worker has fewer slots.
const ROOM: usize = 100_000;
/// How long the end of an attempt is tried to be put on record: while the database is away, this process alone
/// knows it.
const RECORD_WITHIN: Duration = Duration::from_secs(60);

/// What a process has for sending messages.
pub struct NotificationDesk {
    providers: BTreeMap<Channel, Vec<Named>>,
    /// Where people reach the pages, for links.
    pub public_url: Option<String>,
    /// Days that notifications are kept; 0 is for ever.
    pub keep_days: u32,
    /// What is known of the circuits.
    pub circuits: Circuits,
    /// Which addresses webhooks may have.
    pub guard: Guard,
    pub(super) seats: Seats,
    /// When what waits for a circuit was put off last, and how many were turned away since.
    put_off: Mutex<HashMap<String, (Instant, u32)>>,
    looks: Gatherer<DeliveryId, Option<Look>, Failure>,
    beginnings: Gatherer<Beginning, Option<i32>, Failure>,
    ends: Gatherer<Arc<Ended>, Option<Closed>, Failure>,
}

impl NotificationDesk {
    /// With the providers of a configuration.
    pub fn open(config: &NotificationsConfig) -> Result<Self, NamedError> {
        Ok(Self {
            providers: config.open()?,
            public_url: config.public_url.clone(),
            keep_days: config.keep_days,
            circuits: Circuits::default(),
            guard: config.guard(),
            seats: Seats::default(),
            put_off: Mutex::default(),
            looks: Gatherer::new(TOGETHER, ROOM),
            beginnings: Gatherer::new(TOGETHER, ROOM),
            ends: Gatherer::new(TOGETHER, ROOM),
        })
    }

    /// The providers of a channel, in order; none if the channel is off.
    pub fn providers(&self, channel: Channel) -> &[Named] {
        self.providers.get(&channel).map_or(&[], Vec::as_slice)
    }

    /// Counts one that was turned away; whether it is time to put off what else waits for the circuit.
    pub(super) fn may_put_off(&self, circuit: &str) -> bool {
        let now = Instant::now();
        let mut last = self.put_off.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, away)) = last.get_mut(circuit) {
            *away += 1;
            if now - *at < pause(*away) {
                return false;
            }
        }
        last.insert(circuit.to_owned(), (now, 0));
        true
    }

    /// Whether messages can leave over a channel.
    pub fn serves(&self, channel: Channel) -> bool {
        !self.providers(channel).is_empty()
    }
}

/// How long what waits for a circuit is let be, so many having been turned away since it was put off.
const fn pause(away: u32) -> Duration {
    if away < MANY { PUT_OFF.1 } else { PUT_OFF.0 }
}

pub(super) async fn look(env: &Arc<Environment>, id: DeliveryId) -> Result<Option<Look>, JobError> {
    let means = env.clone();
    let work = move |ids| {
        let env = means.clone();
        async move { recording::look(&env, ids).await }
    };
    env.notifications.looks.ask(id, work).await.map_err(|error| JobError::Retry(recording::why(error)))
}

pub(super) async fn begin(
    env: &Arc<Environment>,
    claim: Claim,
    delivery: DeliveryId,
    provider: &str,
) -> Result<Option<i32>, JobError> {
    let means = env.clone();
    let work = move |asked| {
        let env = means.clone();
        async move { recording::begin(&env, asked).await }
    };
    let beginning = Beginning { claim, delivery, provider: provider.to_owned() };
    let begun = env.notifications.beginnings.ask(beginning, work).await;
    begun.map_err(|error| JobError::Retry(recording::why(error)))
}

/// Puts the end of an attempt on record, however long that takes within reason: nobody else knows it.
pub(super) async fn end(env: &Arc<Environment>, ended: Ended) -> Result<Option<Closed>, JobError> {
    let (ended, since) = (Arc::new(ended), Instant::now());
    let mut pause = Duration::from_millis(100);
    loop {
        let means = env.clone();
        let work = move |ended| {
            let env = means.clone();
            async move { recording::end(&env, ended).await }
        };
        match env.notifications.ends.ask(ended.clone(), work).await {
            Ok(closed) => return Ok(closed),
            Err(AskError::Failed(Failure(error)))
                if is_outage_of(&error) && since.elapsed() + pause < RECORD_WITHIN =>
            {
                tracing::warn!(%error, "how an attempt ended is not on record yet; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
            Err(error) => return Err(JobError::Retry(recording::why(error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_looked_for_sooner_where_many_are_turned_away() {
        assert_eq!((pause(1), pause(MANY)), (Duration::from_secs(10), Duration::from_secs(1)));
    }
}
