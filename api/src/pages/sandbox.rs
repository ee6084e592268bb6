//! The sandbox's inbox: what would have been sent, as its recipients would have got it.

use super::{
    address::Address,
    fmt,
    notifications::{channel_chips, channel_words, sandboxed, tabs, words_of},
    pieces::{Chips, Empty, Pager, Time},
    shell::{Shell, page},
};
use crate::{
    actions::notifications::{SANDBOX, stands_in},
    app::AppState,
    error::ApiResult,
};
use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;
use shared::{
    config::variable,
    notifications::{
        figures::list_accepted_by,
        model::{Channel, Delivery, Notification},
    },
    pagination::{Cursor, PageRequest},
};

/// Messages of a page.
const ROWS: i64 = 25;
/// Characters of a body that are shown at once.
const BODY: usize = 2_000;

#[derive(Template)]
#[template(path = "pages/sandbox/inbox.html")]
struct InboxPage {
    shell: Shell,
    tabs: Chips,
    /// The channels for which it stands in, and what to set for each.
    stands_in: Option<String>,
    variables: Vec<&'static str>,
    channels: Chips,
    messages: Vec<MessagePart>,
    pager: Pager,
    empty: Option<Empty>,
}

struct MessagePart {
    id: String,
    href: String,
    channel: &'static str,
    address: String,
    title: String,
    body: String,
    html: Option<String>,
    payload: Option<String>,
    at: Time,
}

impl MessagePart {
    fn new(delivery: &Delivery, notification: &Notification, shell: &Shell) -> Self {
        let webhook = delivery.channel == Channel::Webhook;
        Self {
            id: delivery.id.to_string(),
            href: format!("/ui/notifications/{}", notification.id),
            channel: channel_words(delivery.channel),
            address: delivery.address.clone(),
            title: notification.title.clone(),
            body: fmt::cut(&notification.body, BODY),
            html: notification.html.clone().filter(|_| delivery.channel == Channel::Email),
            payload: webhook.then(|| serde_json::to_string_pretty(&notification.payload).unwrap_or_default()),
            at: shell.ago(delivery.ended_at.unwrap_or(notification.created_at)),
        }
    }
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    channel: Option<String>,
    cursor: Option<String>,
}

fn nothing(here: &Address, channel: Option<Channel>) -> Empty {
    if let Some(channel) = channel {
        let filter = format!("the channel {}", channel_words(channel));
        return Empty::nothing_matches("messages", &filter, &here.cleared());
    }
    Empty::nothing_yet(
        "The sandbox is empty",
        "Where the sandbox stands in for a channel, messages are kept here instead of being sent.",
        "New notification",
        "/ui/notifications/new",
    )
}

/// `GET /ui/sandbox`.
pub(super) async fn show(
    shell: Shell,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    // One at a time: the last that was chosen.
    let channel: Option<Channel> = words_of(wanted.channel.as_deref()).pop();
    let here = Address::new("/ui/sandbox").maybe("channel", channel.map(Channel::as_str));
    let cursor = wanted.cursor.as_deref().map(Cursor::decode).transpose()?;
    let request = PageRequest { limit: ROWS, cursor };
    let mut conn = state.env.pool.get().await?;
    let found = list_accepted_by(&mut conn, &[SANDBOX], channel, &request).await?;
    drop(conn);
    let chosen: Vec<Channel> = channel.into_iter().collect();
    let standing = Channel::ALL.iter().filter(|&&channel| stands_in(&state, channel));
    page(&InboxPage {
        tabs: tabs("sandbox"),
        stands_in: sandboxed(&state),
        variables: standing.map(|&channel| variable(channel)).collect(),
        channels: single_chips(&chosen, &here),
        pager: Pager::by_time(&found, &here, "message"),
        empty: found.items.is_empty().then(|| nothing(&here, channel)),
        messages: found.items.iter().map(|(one, of)| MessagePart::new(one, of, &shell)).collect(),
        shell,
    })
}

/// Chips of which one is on at a time.
fn single_chips(chosen: &[Channel], here: &Address) -> Chips {
    let mut chips = channel_chips(&[], here);
    for (chip, channel) in chips.chips.iter_mut().zip(Channel::ALL) {
        chip.on = chosen.contains(channel);
        if chip.on {
            chip.href = here.with("channel", "").to_string();
        }
    }
    chips
}
