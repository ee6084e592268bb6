//! Who is told of what: events, their subscriptions, and what clients want.

use super::{clients::no_client, providers::channel_of};
use crate::{
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    list::Listing,
    params::{Json, NoQuery, PathText},
    views::{
        events::{ClientChannelView, EventView, SubscriptionView},
        words,
    },
};
use axum::{
    Json as Answer,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use diesel_async::AsyncPgConnection;
use serde::Deserialize;
use shared::notifications::{
    Event, NotificationError,
    model::Channel,
    service,
    subscriptions::{self, client_channels},
};
use utoipa::ToSchema;

/// List the events, and who is told of each.
#[utoipa::path(get, path = "/api/v1/events", tag = "notifications", responses(
    (status = 200, description = "All events; there are no pages", body = Listing<EventView>),
))]
pub async fn list_events(State(state): State<AppState>, _: NoQuery) -> ApiResult<Answer<Listing<EventView>>> {
    let standings = subscriptions::standings(&mut *state.env.pool.get().await?).await?;
    Ok(Answer(Listing::whole(standings.into_iter().map(EventView::from).collect())))
}

fn event_of(text: &str) -> ApiResult<Event> {
    text.parse().map_err(|reason| ApiError::not_found(format!("There is no such event: {reason}.")))
}

async fn view(conn: &mut AsyncPgConnection, event: Event) -> ApiResult<Answer<EventView>> {
    let standings = subscriptions::standings(conn).await?;
    let found = standings.into_iter().find(|standing| standing.event == event);
    found
        .map(|standing| Answer(standing.into()))
        .ok_or_else(|| ApiError::internal("an event has no standing"))
}

/// Over which channels clients are told.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventChannelsBody {
    /// The channels; none is never.
    #[schema(schema_with = words::channels)]
    pub channels: Vec<Channel>,
}

/// Say over which channels clients are told of an event of theirs.
#[utoipa::path(put, path = "/api/v1/events/{event}", tag = "notifications", request_body = EventChannelsBody,
    params(("event" = String, Path, description = "The event")), responses(
    (status = 200, description = "The event", body = EventView),
    (status = 404, description = "There is no such event"),
    (status = 422, description = "It is no event of a client, or a channel is off"),
))]
pub async fn set_event_channels(
    State(state): State<AppState>,
    principal: Principal,
    PathText(event): PathText,
    _: NoQuery,
    Json(body): Json<EventChannelsBody>,
) -> ApiResult<Answer<EventView>> {
    let event = event_of(&event)?;
    let conn = &mut *state.env.pool.get().await?;
    let desk = &state.env.notifications;
    subscriptions::set_channels(conn, desk, event, &body.channels, &principal.name).await?;
    view(conn, event).await
}

/// An address that is to be told.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionBody {
    /// The channel; programs subscribe by their webhook endpoints.
    #[schema(schema_with = words::channel)]
    pub channel: Channel,
    /// The address.
    #[schema(example = "ops@example.org")]
    pub address: String,
}

/// Have an address told of an event.
#[utoipa::path(post, path = "/api/v1/events/{event}/subscriptions", tag = "notifications",
    request_body = SubscriptionBody, params(("event" = String, Path, description = "The event")), responses(
    (status = 201, description = "The subscription", body = SubscriptionView, headers(("Location" = String))),
    (status = 200, description = "It was there already", body = SubscriptionView),
    (status = 404, description = "There is no such event"),
    (status = 422, description = "The channel is off, or the address cannot be used"),
))]
pub async fn subscribe(
    State(state): State<AppState>,
    principal: Principal,
    PathText(event): PathText,
    _: NoQuery,
    Json(body): Json<SubscriptionBody>,
) -> ApiResult<Response> {
    let event = event_of(&event)?;
    let conn = &mut *state.env.pool.get().await?;
    let SubscriptionBody { channel, address } = body;
    let desk = &state.env.notifications;
    let subscribed = subscriptions::subscribe(conn, desk, event, channel, &address, &principal.name).await;
    let (subscription, is_new) = subscribed.map_err(|error| match error {
        NotificationError::ChannelOff(_) => ApiError::invalid("channel", error.to_string()),
        other => other.into(),
    })?;
    let location = format!("/api/v1/events/{event}/subscriptions/{}", subscription.id);
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(header::LOCATION, location)], Answer(SubscriptionView::from(subscription))).into_response())
}

/// Have an address told of an event no more.
#[utoipa::path(delete, path = "/api/v1/events/{event}/subscriptions/{id}", tag = "notifications",
    params(("event" = String, Path, description = "The event"),
        ("id" = i64, Path, description = "The subscription")), responses(
    (status = 204, description = "It is gone"),
    (status = 404, description = "There is no such event or subscription"),
))]
pub async fn unsubscribe(
    State(state): State<AppState>,
    principal: Principal,
    Path((event, id)): Path<(String, String)>,
    _: NoQuery,
) -> ApiResult<StatusCode> {
    let event = event_of(&event)?;
    let id =
        id.parse().map_err(|_| ApiError::bad_parameter("id", "A subscription's id is a whole number."))?;
    subscriptions::unsubscribe(&mut *state.env.pool.get().await?, event, id, &principal.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Show over which channels a client wants messages.
#[utoipa::path(get, path = "/api/v1/clients/{id}/channels", tag = "notifications",
    params(("id" = String, Path, description = "The client")), responses(
    (status = 200, description = "All channels; there are no pages", body = Listing<ClientChannelView>),
    (status = 404, description = "There is no such client"),
))]
pub async fn list_client_channels(
    State(state): State<AppState>,
    PathText(id): PathText,
    _: NoQuery,
) -> ApiResult<Answer<Listing<ClientChannelView>>> {
    let found = client_channels(&mut *state.env.pool.get().await?, &id).await?;
    let channels = found.ok_or_else(|| no_client(&id))?;
    Ok(Answer(Listing::whole(channels.into_iter().map(ClientChannelView::from).collect())))
}

/// Whether messages are wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedBody {
    /// `false`: nothing more is sent to the client over this channel.
    pub wanted: bool,
}

/// Note whether a client wants messages over a channel.
///
/// What is still to be sent heeds it.
#[utoipa::path(put, path = "/api/v1/clients/{id}/channels/{channel}", tag = "notifications", request_body = WantedBody,
    params(("id" = String, Path, description = "The client"),
        ("channel" = String, Path, description = "The channel")), responses(
    (status = 200, description = "The channel", body = ClientChannelView),
    (status = 404, description = "There is no such client or channel"),
))]
pub async fn set_client_channel(
    State(state): State<AppState>,
    principal: Principal,
    Path((id, channel)): Path<(String, String)>,
    _: NoQuery,
    Json(body): Json<WantedBody>,
) -> ApiResult<Answer<ClientChannelView>> {
    let channel = channel_of(&channel)?;
    if id.contains('\0') {
        return Err(no_client(&id.replace('\0', "")));
    }
    let conn = &mut *state.env.pool.get().await?;
    set_wanted(conn, &id, channel, body.wanted, &principal.name).await?;
    let channels = client_channels(conn, &id).await?.ok_or_else(|| no_client(&id))?;
    let found = channels.into_iter().find(|one| one.channel == channel);
    found.map(|one| Answer(one.into())).ok_or_else(|| ApiError::internal("a channel has no standing"))
}

/// Notes it; 404 if there is no such client. From the API and from the page.
pub async fn set_wanted(
    conn: &mut AsyncPgConnection,
    client: &str,
    channel: Channel,
    wanted: bool,
    by: &str,
) -> ApiResult<()> {
    service::set_wanted(conn, client, channel, wanted, by).await.map_err(|error| match error {
        NotificationError::UnknownClient(id) => no_client(&id),
        other => other.into(),
    })
}
