//! Who is told of an event: the client whose it is, and others. Each of the two is one notification, with its
//! own words: pages are for those who work here, so the client's have no links.

use super::{
    desk::NotificationDesk,
    endpoints,
    error::NotificationError,
    events::Event,
    model::Channel,
    providers::check_address,
    recipients::{self, Reach},
    service::{self, NewNotification, Target},
    texts,
};
use crate::{
    runs::{Environment, Queue},
    schema::{client_events, event_subscriptions},
};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Something that has happened.
#[derive(Debug, Clone)]
pub(super) struct Happening {
    pub event: Event,
    /// What it happened to: it is told of once.
    pub subject: String,
    /// The event's values.
    pub data: Value,
}

impl Happening {
    fn client(&self) -> Option<&str> {
        self.event.is_of_client().then(|| self.data["client_id"].as_str()).flatten()
    }
}

/// Who is told of some events.
#[derive(Debug, Default)]
pub(super) struct Audience {
    /// Over which channels clients are, where they are on.
    channels: BTreeMap<Event, Vec<Channel>>,
    /// Who else is.
    others: BTreeMap<Event, Vec<Target>>,
}

impl Audience {
    /// Of these events. What cannot be told because its channel is off is in the log.
    pub async fn of(
        conn: &mut AsyncPgConnection,
        desk: &NotificationDesk,
        events: &BTreeSet<Event>,
    ) -> QueryResult<Self> {
        let mut audience = Self::default();
        let names: Vec<&str> = events.iter().map(|event| event.as_str()).collect();
        let told: Vec<(String, Vec<String>)> = client_events::table
            .filter(client_events::event.eq_any(&names))
            .select((client_events::event, client_events::channels))
            .load(conn)
            .await?;
        for (event, channels) in told {
            let Ok(event) = event.parse::<Event>() else { continue };
            let mut channels: Vec<Channel> = channels.iter().filter_map(|name| name.parse().ok()).collect();
            channels.retain(|&channel| is_on(desk, event, channel));
            audience.channels.insert(event, channels);
        }
        let subscribed: Vec<(String, Channel, String)> = event_subscriptions::table
            .filter(event_subscriptions::event.eq_any(&names))
            .order(event_subscriptions::id)
            .select((event_subscriptions::event, event_subscriptions::channel, event_subscriptions::address))
            .load(conn)
            .await?;
        for &event in events {
            if !desk.serves(Channel::Webhook) {
                break;
            }
            let told = endpoints::told_of(conn, event).await?.into_iter().map(|endpoint| Target {
                channel: Channel::Webhook,
                address: endpoint.url,
                endpoint_id: Some(endpoint.id),
                unwanted: false,
            });
            audience.others.insert(event, told.collect());
        }
        for (event, channel, address) in subscribed {
            let Ok(event) = event.parse::<Event>() else { continue };
            if !is_on(desk, event, channel) {
                continue;
            }
            match check_address(channel, &address, &desk.guard) {
                Ok(address) => audience.others.entry(event).or_default().push(Target {
                    channel,
                    address,
                    endpoint_id: None,
                    unwanted: false,
                }),
                Err(reason) => {
                    tracing::warn!(%event, %channel, "a subscriber of {event} has no {channel}: {reason}")
                }
            }
        }
        Ok(audience)
    }

    /// The client's own targets; none if it wants none of them.
    fn client_targets(&self, event: Event, reach: &Reach, desk: &NotificationDesk) -> Vec<Target> {
        let channels = self.channels.get(&event).map_or(&[][..], Vec::as_slice);
        let mut targets: Vec<Target> =
            channels.iter().flat_map(|&channel| reach.over(channel, Some(event.as_str()))).collect();
        if desk.serves(Channel::Webhook) {
            // Its endpoints are told whatever channels are chosen.
            let told = reach.over(Channel::Webhook, Some(event.as_str()));
            targets.extend(told.into_iter().filter(|one| !targets.contains(one)).collect::<Vec<_>>());
        }
        if targets.iter().all(|target| target.unwanted) { Vec::new() } else { targets }
    }

    /// The notifications of what has happened, one for the client and one for others. What cannot be put into
    /// words is in the log and makes none: it would not become better by waiting.
    async fn notifications(
        &self,
        conn: &mut AsyncPgConnection,
        env: &Environment,
        happened: &[Happening],
    ) -> QueryResult<Vec<NewNotification>> {
        let desk = &env.notifications;
        let clients: BTreeSet<&str> = happened.iter().filter_map(Happening::client).collect();
        let clients: Vec<&str> = clients.into_iter().collect();
        let reached = if clients.is_empty() {
            BTreeMap::new()
        } else {
            recipients::reach(conn, desk, &clients).await?
        };
        let mut notifications = Vec::new();
        for one in happened {
            let Happening { event, subject, data } = one;
            let client = one.client();
            let own = client
                .and_then(|client| reached.get(client))
                .map(|reach| self.client_targets(*event, reach, desk));
            let others = self.others.get(event).cloned().unwrap_or_default();
            let parts = [
                ("client", own.unwrap_or_default(), client, None),
                ("others", others, None, desk.public_url.as_deref()),
            ];
            for (part, targets, client, public_url) in parts.into_iter().filter(|part| !part.1.is_empty()) {
                match texts::render(*event, data, public_url) {
                    Ok(content) => notifications.push(NewNotification {
                        event: Some(event.as_str()),
                        dedupe: Some(format!("{event}:{subject}:{part}")),
                        client_id: client.map(str::to_owned),
                        content,
                        targets,
                        send_at: None,
                        by: "millrace".to_owned(),
                    }),
                    Err(error) => {
                        tracing::error!(%event, subject, error, "{event} of {subject} cannot be told: {error}");
                    }
                }
            }
        }
        Ok(notifications)
    }

    /// Makes notifications of what has happened, in the caller's transaction; how many. Ring the `deliveries`
    /// doorbell afterwards ([`ring`]).
    pub async fn tell(
        &self,
        conn: &mut AsyncPgConnection,
        env: &Environment,
        happened: &[Happening],
    ) -> Result<usize, NotificationError> {
        let notifications = self.notifications(conn, env, happened).await?;
        if notifications.is_empty() {
            return Ok(0);
        }
        let made = service::create_all(conn, &notifications).await?;
        Ok(made.into_iter().flatten().count())
    }
}

fn is_on(desk: &NotificationDesk, event: Event, channel: Channel) -> bool {
    let on = desk.serves(channel);
    if !on {
        tracing::warn!(%event, %channel, "nobody is told of {event} over {channel}: it has no provider");
    }
    on
}

/// Rings for the deliveries of notifications that were made.
pub(super) fn ring(env: &Environment, notifications: usize) {
    if notifications > 0 {
        env.doorbells.ring(Queue::Deliveries, notifications as u64);
    }
}
