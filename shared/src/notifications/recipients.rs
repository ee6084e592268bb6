//! Who a message goes to: the addresses of clients, checked and as their channels write them.

use super::{
    desk::NotificationDesk,
    endpoints::{self, NewEndpoint},
    error::NotificationError,
    model::{Channel, Endpoint},
    providers::check_address,
    service::Target,
};
use crate::{
    ids::EndpointId,
    schema::{clients, notification_optouts},
};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::collections::{BTreeMap, HashSet};

/// How a client can be reached.
#[derive(Debug, Clone, Default)]
pub(super) struct Reach {
    addresses: BTreeMap<Channel, String>,
    endpoints: Vec<EndpointAddress>,
    unwanted: HashSet<Channel>,
}

#[derive(Debug, Clone)]
struct EndpointAddress {
    id: EndpointId,
    url: String,
    events: Vec<String>,
}

impl EndpointAddress {
    fn of(endpoint: Endpoint) -> Self {
        Self { id: endpoint.id, url: endpoint.url, events: endpoint.events }
    }
}

/// What a client lacks that cannot be reached over a channel, and what would help.
fn missing(client: &str, channel: Channel) -> String {
    let field = match channel {
        Channel::Email => "email",
        Channel::Sms => "phone_number",
        Channel::Telegram => "telegram_chat_id",
        Channel::Webhook => {
            return format!(
                "Client {client} has no webhook endpoint that is enabled. Register one with its client_id, or leave \
                 webhook out."
            );
        }
    };
    format!(
        "Client {client} has no {field} that {channel} can use. Add it to the client, or leave {channel} out."
    )
}

impl Reach {
    /// The targets over a channel, those that the client does not want among them; none if it has no address.
    /// Of its endpoints those that are told of `event`, if one is named.
    pub fn over(&self, channel: Channel, event: Option<&str>) -> Vec<Target> {
        let unwanted = self.unwanted.contains(&channel);
        if channel == Channel::Webhook {
            let told = self.endpoints.iter().filter(|one| {
                event.is_none_or(|event| one.events.is_empty() || one.events.iter().any(|name| name == event))
            });
            return told
                .map(|one| Target { channel, address: one.url.clone(), endpoint_id: Some(one.id), unwanted })
                .collect();
        }
        let address = self.addresses.get(&channel).cloned();
        address.map(|address| Target { channel, address, endpoint_id: None, unwanted }).into_iter().collect()
    }
}

type ContactRow = (String, Option<String>, Option<String>, Option<String>, Option<String>);

/// How clients can be reached; nothing of those that there are not. A client whose `webhook_url` has no endpoint
/// yet is given one, with a secret of its own.
pub(super) async fn reach(
    conn: &mut AsyncPgConnection,
    desk: &NotificationDesk,
    ids: &[&str],
) -> QueryResult<BTreeMap<String, Reach>> {
    let rows: Vec<ContactRow> = clients::table
        .filter(clients::client_id.eq_any(ids))
        .select((
            clients::client_id,
            clients::email,
            clients::phone_number,
            clients::telegram_chat_id,
            clients::webhook_url,
        ))
        .load(conn)
        .await?;
    let mut reached: BTreeMap<String, Reach> = BTreeMap::new();
    for (client, email, phone, telegram, webhook) in rows {
        let given = [(Channel::Email, email), (Channel::Sms, phone), (Channel::Telegram, telegram)];
        // What files brought may be no address: then there is none.
        let addresses = given.into_iter().filter_map(|(channel, address)| {
            Some((channel, check_address(channel, address.as_deref()?, &desk.guard).ok()?))
        });
        let reach = Reach { addresses: addresses.collect(), ..Reach::default() };
        if let Some(url) = webhook.and_then(|url| check_address(Channel::Webhook, &url, &desk.guard).ok()) {
            let new = NewEndpoint {
                url: url.clone(),
                client_id: Some(client.clone()),
                description: "of the client's webhook_url".to_owned(),
                events: Vec::new(),
            };
            endpoints::insert(conn, &url, &new, "millrace").await?;
        }
        reached.insert(client, reach);
    }
    for endpoint in endpoints::of_clients(conn, ids).await? {
        if let Some(reach) = endpoint.client_id.as_ref().and_then(|client| reached.get_mut(client)) {
            reach.endpoints.push(EndpointAddress::of(endpoint));
        }
    }
    let unwanted: Vec<(String, Channel)> = notification_optouts::table
        .filter(notification_optouts::client_id.eq_any(ids))
        .select((notification_optouts::client_id, notification_optouts::channel))
        .load(conn)
        .await?;
    for (client, channel) in unwanted {
        if let Some(reach) = reached.get_mut(&client) {
            reach.unwanted.insert(channel);
        }
    }
    Ok(reached)
}

/// The targets of a client over some channels, or over all by which it can be reached. A channel that is named
/// and has no address is a fault.
pub(super) async fn of_client(
    conn: &mut AsyncPgConnection,
    desk: &NotificationDesk,
    client: &str,
    channels: &[Channel],
) -> Result<Vec<Target>, NotificationError> {
    let reached = reach(conn, desk, &[client]).await?;
    let reach = reached
        .get(client)
        .ok_or_else(|| NotificationError::UnknownClient(client.chars().take(80).collect()))?;
    if channels.is_empty() {
        let all = Channel::ALL.iter().filter(|&&channel| desk.serves(channel));
        let targets: Vec<Target> = all.flat_map(|&channel| reach.over(channel, None)).collect();
        if targets.is_empty() {
            return Err(NotificationError::invalid(
                "channels",
                format!(
                    "Client {client} has no address on any channel that is on. Add one to the client first."
                ),
            ));
        }
        return Ok(targets);
    }
    let mut targets = Vec::new();
    for &channel in channels {
        if !desk.serves(channel) {
            return Err(NotificationError::ChannelOff(channel));
        }
        let over = reach.over(channel, None);
        if over.is_empty() {
            return Err(NotificationError::invalid("channels", missing(client, channel)));
        }
        targets.extend(over);
    }
    Ok(targets)
}

/// The target of an explicit address; for a webhook the URL, or the id, of a registered endpoint.
pub(super) async fn explicit(
    conn: &mut AsyncPgConnection,
    desk: &NotificationDesk,
    channel: Channel,
    address: &str,
    field: &str,
) -> Result<Target, NotificationError> {
    if !desk.serves(channel) {
        return Err(NotificationError::ChannelOff(channel));
    }
    if channel == Channel::Webhook {
        let found = match address.parse::<EndpointId>() {
            Ok(id) => endpoints::find(conn, id).await?,
            Err(_) => endpoints::of_url(conn, address, None).await?,
        };
        let endpoint = found.ok_or_else(|| {
            NotificationError::invalid(
                field,
                format!("There is no webhook endpoint {address:?}. Register it first: it gets the secret that signs its messages."),
            )
        })?;
        if let Some(reason) = endpoint.disabled_reason {
            return Err(NotificationError::invalid(
                field,
                format!("This endpoint is disabled: {reason}. Enable it first."),
            ));
        }
        return Ok(Target {
            channel,
            address: endpoint.url,
            endpoint_id: Some(endpoint.id),
            unwanted: false,
        });
    }
    let address = check_address(channel, address, &desk.guard)
        .map_err(|reason| NotificationError::invalid(field, reason))?;
    Ok(Target { channel, address, endpoint_id: None, unwanted: false })
}
