//! The list of notifications, and what the pages about sending share: the way between them, rates in words.

use super::{
    address::{Address, segment},
    clients::searched,
    fmt,
    pieces::{Badge, Chip, Chips, Empty, Pager, Time, Way, icon, notification_shape},
    shell::{Shell, page},
};
use crate::{actions::notifications::stands_in, app::AppState, error::ApiResult};
use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;
use shared::{
    ids::NotificationId,
    notifications::{
        figures::{StateCount, Tally, count_by_state},
        model::{Channel, Delivery, Notification, NotificationState},
        queries::{NotificationFilter, deliveries_of, list_notifications},
    },
    pagination::{Cursor, PageRequest},
};
use std::{collections::HashMap, str::FromStr};

/// The pages about sending, of which one is shown.
pub(super) fn tabs(on: &str) -> Chips {
    let tab = |word: &str, name: &str| Chip::way(word, format!("/ui/{name}"), name == on);
    Chips {
        label: "Pages about sending",
        chips: vec![
            tab("Notifications", "notifications"),
            tab("To decide", "notifications/undecided"),
            tab("Providers", "providers"),
            tab("Webhooks", "webhooks"),
            tab("Events", "events"),
            tab("Sandbox", "sandbox"),
        ],
    }
}

/// A channel as people call it.
pub(super) fn channel_words(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "E-mail",
        Channel::Sms => "SMS",
        Channel::Telegram => "Telegram",
        Channel::Webhook => "Webhook",
    }
}

/// The channels for which the sandbox stands in, in words; nothing if there is none.
pub(super) fn sandboxed(state: &AppState) -> Option<String> {
    let channels: Vec<&str> = Channel::ALL
        .iter()
        .filter(|&&channel| stands_in(state, channel))
        .map(|&one| channel_words(one))
        .collect();
    (!channels.is_empty()).then(|| channels.join(", "))
}

/// `1 delivery`, `2 deliveries`.
pub(super) fn deliveries_words(count: usize) -> String {
    match i64::try_from(count).unwrap_or(i64::MAX) {
        1 => "1 delivery".to_owned(),
        count => format!("{} deliveries", fmt::count(count)),
    }
}

/// `98.7 % of 1,234`; nothing if nothing has ended.
pub(super) fn rate_words(tally: &Tally) -> Option<String> {
    let ended = tally.ended();
    if ended == 0 {
        return None;
    }
    let per_mille = i128::from(tally.delivered) * 1000 / i128::from(ended);
    Some(format!("{}.{} % of {}", per_mille / 10, per_mille % 10, fmt::count(ended)))
}

/// The words that an address names; others are left out.
pub(super) fn words_of<T: FromStr + Ord>(text: Option<&str>) -> Vec<T> {
    let mut words: Vec<T> = text.unwrap_or_default().split(',').filter_map(|one| one.parse().ok()).collect();
    words.sort_unstable();
    words.dedup();
    words
}

fn joined<T: ToString>(words: &[T]) -> String {
    words.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

/// The list with one more value of a filter, or one fewer.
pub(super) fn toggled<T: Copy + PartialEq + ToString>(
    on: &[T],
    one: T,
    name: &'static str,
    here: &Address,
) -> String {
    let mut wanted: Vec<T> = on.iter().copied().filter(|other| *other != one).collect();
    wanted.extend((wanted.len() == on.len()).then_some(one));
    here.with(name, &joined(&wanted)).to_string()
}

/// A notification in a list.
struct Line {
    id: String,
    href: String,
    title: String,
    /// The event, or who asked.
    why: String,
    badge: Badge,
    /// `2 e-mails, 1 SMS`, as it were.
    over: String,
    client: Option<(String, String)>,
    at: Time,
}

/// `email ann@example.org`, or `email 2, sms`.
fn over(deliveries: &[&Delivery]) -> String {
    if let [one] = deliveries {
        return format!("{} to {}", channel_words(one.channel), fmt::cut(&one.address, 60));
    }
    let words = Channel::ALL.iter().filter_map(|&channel| {
        let count = deliveries.iter().filter(|delivery| delivery.channel == channel).count();
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        match count {
            0 => None,
            1 => Some(channel_words(channel).to_owned()),
            _ => Some(format!("{} to {}", channel_words(channel), fmt::count(count))),
        }
    });
    words.collect::<Vec<_>>().join(", ")
}

impl Line {
    fn new(notification: &Notification, deliveries: &[&Delivery], shell: &Shell) -> Self {
        let client = notification.client_id.as_deref();
        Self {
            id: notification.id.to_string(),
            href: format!("/ui/notifications/{}", notification.id),
            title: fmt::cut(&notification.title, 120),
            why: match &notification.event {
                Some(event) => fmt::words(event),
                None => format!("asked for by {}", notification.created_by),
            },
            badge: notification.state.into(),
            over: over(deliveries),
            client: client.map(|id| (fmt::cut(id, 40), format!("/ui/clients/{}", segment(id)))),
            at: shell.ago(notification.created_at),
        }
    }
}

#[derive(Template)]
#[template(path = "pages/notifications/list.html")]
struct ListPage {
    shell: Shell,
    tabs: Chips,
    new: Way,
    sandboxed: Option<String>,
    here: Address,
    state: String,
    channel: String,
    client: String,
    states: Chips,
    channels: Chips,
    lines: Vec<Line>,
    pager: Pager,
    empty: Option<Empty>,
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    state: Option<String>,
    channel: Option<String>,
    client: Option<String>,
    event: Option<String>,
    cursor: Option<String>,
}

fn state_chips(states: &[NotificationState], here: &Address, counts: &[StateCount]) -> Chips {
    let chip = |&state: &NotificationState| {
        let counted = counts.iter().find(|count| count.state == state);
        Chip {
            href: toggled(states, state, "state", here),
            word: state.to_string(),
            class: state.as_str(),
            icon: Some(icon(notification_shape(state))),
            count: Some(counted.map_or(0, StateCount::count)),
            more: counted.is_some_and(StateCount::has_more),
            on: states.contains(&state),
        }
    };
    Chips { label: "State", chips: NotificationState::ALL.iter().map(chip).collect() }
}

/// The chips of channels.
pub(super) fn channel_chips(channels: &[Channel], here: &Address) -> Chips {
    let chip = |&channel: &Channel| {
        let href = toggled(channels, channel, "channel", here);
        Chip::way(channel_words(channel), href, channels.contains(&channel))
    };
    Chips { label: "Channel", chips: Channel::ALL.iter().map(chip).collect() }
}

/// The filter in words.
fn words(filter: &NotificationFilter) -> String {
    let named =
        |name: &str, words: Vec<&str>| (!words.is_empty()).then(|| format!("{name} {}", words.join(" or ")));
    let client = filter.client_id.as_ref().map(|client| format!("the client “{}”", fmt::cut(client, 80)));
    let event = filter.event.as_ref().map(|event| format!("the event {}", fmt::words(event)));
    let parts = [
        named("the state", filter.states.iter().map(|state| state.as_str()).collect()),
        named("the channel", filter.channels.iter().map(|&channel| channel_words(channel)).collect()),
        client,
        event,
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" and ")
}

fn nothing(filter: &NotificationFilter, here: &Address) -> Empty {
    if here.is_filtered() {
        return Empty::nothing_matches("notifications", &words(filter), &here.cleared());
    }
    Empty::nothing_yet(
        "No notification yet",
        "A notification is one message to one or more recipients, by e-mail, SMS, Telegram or webhook. Events make \
         them, where somebody wants to be told, and people and programs do.",
        "New notification",
        "/ui/notifications/new",
    )
}

/// `GET /ui/notifications`.
pub(super) async fn list(
    mut shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let client = searched(wanted.client).unwrap_or_default();
    let event = searched(wanted.event).unwrap_or_default();
    let filter = NotificationFilter {
        states: words_of(wanted.state.as_deref()),
        channels: words_of(wanted.channel.as_deref()),
        client_id: Some(client.clone()).filter(|client| !client.is_empty()),
        event: Some(event.clone()).filter(|event| !event.is_empty()),
        ..NotificationFilter::default()
    };
    let here = Address::new("/ui/notifications")
        .with("state", &joined(&filter.states))
        .with("channel", &joined(&filter.channels))
        .with("client", &client)
        .with("event", &event);
    let cursor = wanted.cursor.as_deref().map(Cursor::decode).transpose()?;
    let request = PageRequest { cursor, ..PageRequest::default() };
    let mut conn = state.env.pool.get().await?;
    let found = list_notifications(&mut conn, &filter, &request).await?;
    let counts = count_by_state(&mut conn, &filter).await?;
    let ids: Vec<NotificationId> = found.items.iter().map(|notification| notification.id).collect();
    let deliveries = deliveries_of(&mut conn, &ids).await?;
    drop(conn);
    let mut by_notification: HashMap<NotificationId, Vec<&Delivery>> = HashMap::new();
    for delivery in &deliveries {
        by_notification.entry(delivery.notification_id).or_default().push(delivery);
    }
    let of = |id: &NotificationId| by_notification.get(id).map_or(&[][..], Vec::as_slice);
    shell.moving = found.items.iter().any(|notification| notification.state == NotificationState::Pending);
    page(&ListPage {
        tabs: tabs("notifications"),
        new: shell.way("New notification", "/ui/notifications/new".to_owned()).primary(),
        sandboxed: sandboxed(&state),
        states: state_chips(&filter.states, &here, &counts),
        channels: channel_chips(&filter.channels, &here),
        pager: Pager::by_time(&found, &here, "notification"),
        empty: found.items.is_empty().then(|| nothing(&filter, &here)),
        lines: found.items.iter().map(|one| Line::new(one, of(&one.id), &shell)).collect(),
        state: joined(&filter.states),
        channel: joined(&filter.channels),
        client,
        here,
        shell,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_never_rounded_up_to_all() {
        let tally = |delivered, failed| Tally { delivered, failed, ..Tally::default() };
        assert_eq!(rate_words(&tally(0, 0)), None);
        assert_eq!(rate_words(&tally(3, 0)).as_deref(), Some("100.0 % of 3"));
        assert_eq!(rate_words(&tally(99_999, 1)).as_deref(), Some("99.9 % of 100,000"));
    }

    #[test]
    fn a_chip_takes_its_value_away_or_adds_it() {
        let here = Address::new("/ui/notifications").with("state", "failed");
        let failed = [NotificationState::Failed];
        assert_eq!(toggled(&failed, NotificationState::Failed, "state", &here), "/ui/notifications");
        let both = toggled(&failed, NotificationState::Partial, "state", &here);
        assert_eq!(both, "/ui/notifications?state=failed%2Cpartial");
    }
}
