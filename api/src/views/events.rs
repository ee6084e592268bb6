//! Events, subscriptions and what clients want, as JSON.

use super::words;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::notifications::{
    Event,
    model::Channel,
    subscriptions::{ClientChannel, EventStanding, Subscription},
};
use utoipa::ToSchema;

/// An address that is told of an event.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriptionView {
    /// Its id.
    pub id: i64,
    /// The channel.
    #[schema(schema_with = words::channel)]
    pub channel: Channel,
    /// The address.
    pub address: String,
    /// Who added it.
    pub created_by: String,
    /// When.
    pub created_at: DateTime<Utc>,
}

impl From<Subscription> for SubscriptionView {
    fn from(subscription: Subscription) -> Self {
        Self {
            id: subscription.id,
            channel: subscription.channel,
            address: subscription.address,
            created_by: subscription.created_by,
            created_at: subscription.created_at,
        }
    }
}

/// An event and who is told of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventView {
    /// Which.
    #[schema(schema_with = words::event)]
    pub event: Event,
    /// Whether it is a client's, who may be told of it.
    pub of_client: bool,
    /// Over which channels clients are told; none is never.
    #[schema(schema_with = words::channels)]
    pub channels: Vec<Channel>,
    /// Addresses that are told.
    pub subscriptions: Vec<SubscriptionView>,
    /// How many webhook endpoints are told, without those of single clients.
    pub endpoints: i64,
}

impl From<EventStanding> for EventView {
    fn from(standing: EventStanding) -> Self {
        Self {
            event: standing.event,
            of_client: standing.event.is_of_client(),
            channels: standing.channels,
            subscriptions: standing.subscriptions.into_iter().map(SubscriptionView::from).collect(),
            endpoints: standing.endpoints,
        }
    }
}

/// A channel, as a client has it.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClientChannelView {
    /// The channel.
    #[schema(schema_with = words::channel)]
    pub channel: Channel,
    /// Whether the client wants messages over it.
    pub wanted: bool,
    /// Its address there, as it is stored.
    pub address: Option<String>,
}

impl From<ClientChannel> for ClientChannelView {
    fn from(channel: ClientChannel) -> Self {
        Self { channel: channel.channel, wanted: channel.wanted, address: channel.address }
    }
}
