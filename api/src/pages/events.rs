//! Who is told of what: over which channels clients hear of their events, and which addresses of each.

use super::{
    fmt,
    forms::is_refusal,
    notifications::{channel_words, tabs},
    pieces::{Action, Chips},
    run_parts::ActionForm,
    shell::{Shell, done, page},
};
use crate::{
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult},
};
use askama::Template;
use axum::{
    Form,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use shared::notifications::{
    Event,
    model::Channel,
    subscriptions::{self, EventStanding},
};

#[derive(Template)]
#[template(path = "pages/events/list.html")]
struct EventsPage {
    shell: Shell,
    tabs: Chips,
    events: Vec<EventPart>,
    /// Channels that addresses can subscribe over.
    channels: Vec<(&'static str, &'static str)>,
    refused: Option<Refused>,
}

struct EventPart {
    name: &'static str,
    words: String,
    about: &'static str,
    of_client: bool,
    channels: Vec<ChannelChoice>,
    chosen: Option<String>,
    subscriptions: Vec<SubscriptionLine>,
    endpoints: i64,
    nobody: bool,
}

struct ChannelChoice {
    value: &'static str,
    words: &'static str,
    on: bool,
    off: bool,
}

struct SubscriptionLine {
    id: i64,
    channel: &'static str,
    address: String,
    by: String,
    remove: Action,
}

/// What was wrong with a form, and what was typed.
struct Refused {
    event: Event,
    complaint: String,
    address: String,
    channel: String,
}

impl EventsPage {
    fn refusal(&self, name: &str) -> Option<&Refused> {
        self.refused.as_ref().filter(|refused| refused.event.as_str() == name)
    }

    fn typed_address(&self, name: &str) -> &str {
        self.refusal(name).map_or("", |refused| refused.address.as_str())
    }

    fn is_typed_channel(&self, name: &str, channel: &str) -> bool {
        self.refusal(name).is_some_and(|refused| refused.channel == channel)
    }
}

fn about(event: Event) -> &'static str {
    match event {
        Event::UploadFinished => "A file has been loaded.",
        Event::DailySummary => "What a client did on a day, the morning after.",
        Event::TradeSettled => "A client’s trade was settled.",
        Event::TradeRejected => "A client’s trade was rejected, and why.",
        Event::RunDiscarded => "A run was given up: it failed as often as it may.",
        Event::ScheduleMissed => "A schedule did not run when it should have.",
    }
}

fn part(standing: EventStanding, state: &AppState, shell: &Shell) -> EventPart {
    let event = standing.event;
    let choice = |&channel: &Channel| ChannelChoice {
        value: channel.as_str(),
        words: channel_words(channel),
        on: standing.channels.contains(&channel),
        off: !state.env.notifications.serves(channel),
    };
    let line = |one: &subscriptions::Subscription| SubscriptionLine {
        id: one.id,
        channel: channel_words(one.channel),
        address: one.address.clone(),
        by: one.created_by.clone(),
        remove: shell.action("Remove", format!("/ui/events/{event}/subscriptions/{}/delete", one.id), None),
    };
    EventPart {
        name: event.as_str(),
        words: fmt::words(event.as_str()),
        about: about(event),
        of_client: event.is_of_client(),
        channels: Channel::ALL.iter().map(choice).collect(),
        chosen: standing.chosen.map(|(by, at)| format!("chosen by {by}, {}", fmt::ago(at, shell.now))),
        nobody: standing.channels.is_empty() && standing.subscriptions.is_empty() && standing.endpoints == 0,
        subscriptions: standing.subscriptions.iter().map(line).collect(),
        endpoints: standing.endpoints,
    }
}

async fn build(state: &AppState, shell: Shell, refused: Option<Refused>) -> ApiResult<Response> {
    let standings = subscriptions::standings(&mut *state.env.pool.get().await?).await?;
    let channels = Channel::ALL.iter().filter(|&&channel| channel != Channel::Webhook);
    let channels = channels.filter(|&&channel| state.env.notifications.serves(channel));
    page(&EventsPage {
        tabs: tabs("events"),
        events: standings.into_iter().map(|standing| part(standing, state, &shell)).collect(),
        channels: channels.map(|&channel| (channel.as_str(), channel_words(channel))).collect(),
        refused,
        shell,
    })
}

fn event_of(name: &str) -> ApiResult<Event> {
    name.parse().map_err(|_| ApiError::not_found("There is no such event."))
}

/// `GET /ui/events`.
pub(super) async fn show(shell: Shell, State(state): State<AppState>) -> ApiResult<Response> {
    build(&state, shell, None).await
}

/// The page with what is wrong, or the error if it is nobody's typing.
async fn refuse(state: &AppState, shell: Shell, error: ApiError, typed: Refused) -> ApiResult<Response> {
    if !is_refusal(&error) {
        return Err(error);
    }
    let complaint = error.problem().detail.clone();
    let page = build(state, shell, Some(Refused { complaint, ..typed })).await?;
    Ok((error.status(), page).into_response())
}

/// `POST /ui/events/{event}/channels`.
pub(super) async fn set_channels(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(event): Path<String>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> ApiResult<Response> {
    let token = pairs.iter().find(|(name, _)| name == "csrf_token").map_or("", |(_, value)| value.as_str());
    verify_csrf(&session, token)?;
    let event = event_of(&event)?;
    let chosen = pairs.iter().filter(|(name, _)| name == "channels").map(|(_, word)| word);
    let channels: Result<Vec<Channel>, String> = chosen.map(|word| word.parse()).collect();
    let channels = channels.map_err(|_| ApiError::bad_request("There is no such channel."))?;
    let conn = &mut *state.env.pool.get().await?;
    let desk = &state.env.notifications;
    match subscriptions::set_channels(conn, desk, event, &channels, &session.principal.name).await {
        Ok(()) => Ok(done("/ui/events", "event-saved")),
        Err(error) => {
            let typed =
                Refused { event, complaint: String::new(), address: String::new(), channel: String::new() };
            refuse(&state, shell, error.into(), typed).await
        }
    }
}

/// An address that is to be told.
#[derive(Deserialize)]
pub(super) struct SubscribeForm {
    csrf_token: String,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    address: String,
}

/// `POST /ui/events/{event}/subscriptions`.
pub(super) async fn subscribe(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(event): Path<String>,
    Form(form): Form<SubscribeForm>,
) -> ApiResult<Response> {
    verify_csrf(&session, &form.csrf_token)?;
    let event = event_of(&event)?;
    let address = super::forms::line(&form.address);
    let added = match form.channel.parse::<Channel>() {
        Ok(channel) => {
            let conn = &mut *state.env.pool.get().await?;
            let desk = &state.env.notifications;
            subscriptions::subscribe(conn, desk, event, channel, &address, &session.principal.name)
                .await
                .map_err(ApiError::from)
        }
        Err(_) => Err(ApiError::invalid("channel", "Choose a channel.")),
    };
    match added {
        Ok((_, true)) => Ok(done("/ui/events", "subscribed")),
        Ok((_, false)) => Ok(done("/ui/events", "subscribed-already")),
        Err(error) => {
            let typed = Refused { event, complaint: String::new(), address, channel: form.channel };
            refuse(&state, shell, error, typed).await
        }
    }
}

/// `POST /ui/events/{event}/subscriptions/{id}/delete`.
pub(super) async fn unsubscribe(
    session: PageSession,
    State(state): State<AppState>,
    Path((event, id)): Path<(String, i64)>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    let event = event_of(&event)?;
    let conn = &mut *state.env.pool.get().await?;
    subscriptions::unsubscribe(conn, event, id, &session.principal.name).await?;
    Ok(done("/ui/events", "unsubscribed"))
}
