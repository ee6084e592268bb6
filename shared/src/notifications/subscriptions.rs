//! Who is told of what: the channels over which clients hear of their events, the addresses that subscribe to
//! an event, what a client wants. Each change and its audit row are one transaction.

use super::{
    desk::NotificationDesk, error::NotificationError, events::Event, model::Channel,
    providers::check_address, queries,
};
use crate::{
    audit,
    schema::{client_events, clients, event_subscriptions, webhook_endpoints},
};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::json;

/// Subscriptions of one event, at most.
pub const MOST_SUBSCRIPTIONS: i64 = 1000;

/// An address that is told of an event.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = event_subscriptions, check_for_backend(diesel::pg::Pg))]
pub struct Subscription {
    /// Its id.
    pub id: i64,
    /// The event.
    pub event: String,
    /// The channel.
    pub channel: Channel,
    /// The address.
    pub address: String,
    /// Who added it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// An event and who is told of it.
#[derive(Debug, Clone)]
pub struct EventStanding {
    /// The event.
    pub event: Event,
    /// Over which channels clients are told, if it is theirs.
    pub channels: Vec<Channel>,
    /// Who chose these channels, and when.
    pub chosen: Option<(String, DateTime<Utc>)>,
    /// Addresses that are told.
    pub subscriptions: Vec<Subscription>,
    /// Webhook endpoints of everybody's events that are told, without those that are disabled.
    pub endpoints: i64,
}

/// Every event, and who is told of it.
pub async fn standings(conn: &mut AsyncPgConnection) -> QueryResult<Vec<EventStanding>> {
    let chosen: Vec<(String, Vec<String>, String, DateTime<Utc>)> = client_events::table
        .select((
            client_events::event,
            client_events::channels,
            client_events::updated_by,
            client_events::updated_at,
        ))
        .load(conn)
        .await?;
    let subscriptions: Vec<Subscription> = event_subscriptions::table
        .order((event_subscriptions::channel, event_subscriptions::address))
        .select(Subscription::as_select())
        .load(conn)
        .await?;
    let told: Vec<Vec<String>> = webhook_endpoints::table
        .filter(webhook_endpoints::client_id.is_null().and(webhook_endpoints::disabled_at.is_null()))
        .select(webhook_endpoints::events)
        .load(conn)
        .await?;
    let standing = |&event: &Event| {
        let row = chosen.iter().find(|(name, ..)| name == event.as_str());
        let channels = row.map(|(_, channels, ..)| channels.as_slice()).unwrap_or_default();
        let told = told.iter().filter(|events| events.iter().any(|name| name == event.as_str())).count();
        EventStanding {
            event,
            channels: channels.iter().filter_map(|channel| channel.parse().ok()).collect(),
            chosen: row.map(|(_, _, by, at)| (by.clone(), *at)),
            subscriptions: subscriptions.iter().filter(|one| one.event == event.as_str()).cloned().collect(),
            endpoints: i64::try_from(told).unwrap_or(i64::MAX),
        }
    };
    Ok(Event::ALL.iter().map(standing).collect())
}

/// Says over which channels clients are told of an event of theirs; over none is never.
pub async fn set_channels(
    conn: &mut AsyncPgConnection,
    desk: &NotificationDesk,
    event: Event,
    channels: &[Channel],
    by: &str,
) -> Result<(), NotificationError> {
    if !event.is_of_client() {
        let reason = format!("{event} is no event of a client: subscribe addresses to it, or an endpoint.");
        return Err(NotificationError::invalid("event", reason));
    }
    if let Some(&off) = channels.iter().find(|&&channel| !desk.serves(channel)) {
        return Err(NotificationError::ChannelOff(off));
    }
    let mut channels = channels.to_vec();
    channels.sort_unstable();
    channels.dedup();
    let names: Vec<&str> = channels.iter().map(|channel| channel.as_str()).collect();
    conn.transaction(async |conn| {
        let chosen = (
            client_events::channels.eq(&names),
            client_events::updated_by.eq(by),
            client_events::updated_at.eq(diesel::dsl::now),
        );
        diesel::insert_into(client_events::table)
            .values((client_events::event.eq(event.as_str()), chosen))
            .on_conflict(client_events::event)
            .do_update()
            .set(chosen)
            .execute(conn)
            .await?;
        audit::record(conn, by, "event.channels", event.as_str(), &json!({ "channels": names })).await?;
        Ok(())
    })
    .await
}

/// Has an address told of an event: the subscription, and whether it is new.
pub async fn subscribe(
    conn: &mut AsyncPgConnection,
    desk: &NotificationDesk,
    event: Event,
    channel: Channel,
    address: &str,
    by: &str,
) -> Result<(Subscription, bool), NotificationError> {
    if channel == Channel::Webhook {
        let reason = "Programs are told of events by their endpoints: register one, or add the event to it.";
        return Err(NotificationError::invalid("channel", reason));
    }
    if !desk.serves(channel) {
        return Err(NotificationError::ChannelOff(channel));
    }
    let address = check_address(channel, address, &desk.guard)
        .map_err(|reason| NotificationError::invalid("address", reason))?;
    let of_event = event_subscriptions::table.filter(event_subscriptions::event.eq(event.as_str()));
    conn.transaction(async |conn| {
        let there: i64 = of_event.count().get_result(conn).await?;
        if there >= MOST_SUBSCRIPTIONS {
            let reason =
                format!("An event has at most {MOST_SUBSCRIPTIONS} subscriptions; use a list's address.");
            return Err(NotificationError::invalid("address", reason));
        }
        let made: Option<Subscription> = diesel::insert_into(event_subscriptions::table)
            .values((
                event_subscriptions::event.eq(event.as_str()),
                event_subscriptions::channel.eq(channel),
                event_subscriptions::address.eq(&address),
                event_subscriptions::created_by.eq(by),
            ))
            .on_conflict_do_nothing()
            .returning(Subscription::as_returning())
            .get_result(conn)
            .await
            .optional()?;
        let Some(subscription) = made else {
            let known = of_event
                .filter(event_subscriptions::channel.eq(channel))
                .filter(event_subscriptions::address.eq(&address))
                .select(Subscription::as_select());
            return Ok((known.first(conn).await?, false));
        };
        let details = json!({ "channel": channel, "address": address, "subscription": subscription.id });
        audit::record(conn, by, "event.subscribe", event.as_str(), &details).await?;
        Ok((subscription, true))
    })
    .await
}

/// Has an address told of an event no more.
pub async fn unsubscribe(
    conn: &mut AsyncPgConnection,
    event: Event,
    id: i64,
    by: &str,
) -> Result<Subscription, NotificationError> {
    conn.transaction(async |conn| {
        let one = event_subscriptions::table
            .filter(event_subscriptions::id.eq(id))
            .filter(event_subscriptions::event.eq(event.as_str()));
        let gone: Option<Subscription> =
            diesel::delete(one).returning(Subscription::as_returning()).get_result(conn).await.optional()?;
        let gone = gone.ok_or(NotificationError::NoSubscription(id))?;
        let details = json!({ "channel": gone.channel, "address": gone.address, "subscription": id });
        audit::record(conn, by, "event.unsubscribe", event.as_str(), &details).await?;
        Ok(gone)
    })
    .await
}

/// A channel, as a client has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientChannel {
    /// The channel.
    pub channel: Channel,
    /// Whether the client wants messages over it.
    pub wanted: bool,
    /// Its address, as it is stored; of several endpoints the first.
    pub address: Option<String>,
}

/// Where a client is reached, as it is stored.
pub(crate) struct Contact<'c> {
    pub client_id: &'c str,
    pub email: Option<&'c str>,
    pub phone: Option<&'c str>,
    pub telegram: Option<&'c str>,
    /// Unless it has an endpoint.
    pub webhook: Option<&'c str>,
}

/// The channels of a client; nothing if there is no such client.
pub async fn client_channels(
    conn: &mut AsyncPgConnection,
    client: &str,
) -> QueryResult<Option<Vec<ClientChannel>>> {
    type Row = (Option<String>, Option<String>, Option<String>, Option<String>);
    let row: Option<Row> = clients::table
        .find(client)
        .select((clients::email, clients::phone_number, clients::telegram_chat_id, clients::webhook_url))
        .first(conn)
        .await
        .optional()?;
    let Some((email, phone, telegram, webhook)) = row else { return Ok(None) };
    let contact = Contact {
        client_id: client,
        email: email.as_deref(),
        phone: phone.as_deref(),
        telegram: telegram.as_deref(),
        webhook: webhook.as_deref(),
    };
    Ok(channels_of(conn, &[contact]).await?.pop())
}

/// The channels of each client.
pub(crate) async fn channels_of(
    conn: &mut AsyncPgConnection,
    contacts: &[Contact<'_>],
) -> QueryResult<Vec<Vec<ClientChannel>>> {
    let ids: Vec<&str> = contacts.iter().map(|contact| contact.client_id).collect();
    let endpoints: Vec<(Option<String>, String)> = webhook_endpoints::table
        .filter(webhook_endpoints::client_id.eq_any(&ids).and(webhook_endpoints::disabled_at.is_null()))
        .order(webhook_endpoints::id)
        .select((webhook_endpoints::client_id, webhook_endpoints::url))
        .load(conn)
        .await?;
    let unwanted = queries::optouts(conn, &ids).await?;
    let channels = |contact: &Contact<'_>| {
        let id = contact.client_id;
        let endpoint = endpoints.iter().find(|(client, _)| client.as_deref() == Some(id));
        let channel = |&channel: &Channel| {
            let address = match channel {
                Channel::Email => contact.email,
                Channel::Sms => contact.phone,
                Channel::Telegram => contact.telegram,
                Channel::Webhook => endpoint.map(|(_, url)| url.as_str()).or(contact.webhook),
            };
            ClientChannel {
                channel,
                wanted: !unwanted.iter().any(|(client, one)| client == id && *one == channel),
                address: address.filter(|address| !address.trim().is_empty()).map(str::to_owned),
            }
        };
        Channel::ALL.iter().map(channel).collect()
    };
    Ok(contacts.iter().map(channels).collect())
}
