//! Over which channels a client wants messages: a part of its page.

use super::{
    address::{Address, segment},
    fmt,
    notifications::channel_words,
    pieces::Action,
    shell::{Shell, done},
};
use crate::{
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult},
    routes::{events::set_wanted, providers::channel_of},
};
use askama::{Template, filters::HtmlSafe};
use axum::{
    Form,
    extract::{Path, State},
    response::Response,
};
use serde::Deserialize;
use shared::notifications::subscriptions::ClientChannel;

/// The channels of a client.
#[derive(Template)]
#[template(path = "partials/client_channels.html")]
pub struct ClientChannels {
    lines: Vec<ChannelLine>,
    /// Its notifications.
    href: String,
}

impl HtmlSafe for ClientChannels {}

struct ChannelLine {
    name: &'static str,
    address: Option<String>,
    wanted: bool,
    toggle: Action,
}

impl ClientChannels {
    /// Those of a client.
    pub(super) fn new(client: &str, channels: &[ClientChannel], shell: &Shell) -> Self {
        let line = |one: &ClientChannel| {
            let (label, word) =
                if one.wanted { ("Send nothing there", "no") } else { ("Send there again", "yes") };
            let href = format!("/ui/clients/{}/channels/{}", segment(client), one.channel);
            ChannelLine {
                name: channel_words(one.channel),
                address: one.address.as_deref().map(|address| fmt::cut(address, 80)),
                wanted: one.wanted,
                toggle: Action {
                    fields: vec![("wanted", word.to_owned())],
                    ..shell.action(label, href, None)
                },
            }
        };
        Self {
            lines: channels.iter().map(line).collect(),
            href: Address::new("/ui/notifications").with("client", client).to_string(),
        }
    }
}

/// Whether messages are wanted.
#[derive(Deserialize)]
pub(super) struct WantedForm {
    csrf_token: String,
    wanted: String,
}

/// `POST /ui/clients/{id}/channels/{channel}`.
pub(super) async fn set(
    session: PageSession,
    State(state): State<AppState>,
    Path((id, channel)): Path<(String, String)>,
    Form(form): Form<WantedForm>,
) -> ApiResult<Response> {
    verify_csrf(&session, &form.csrf_token)?;
    let channel = channel_of(&channel)?;
    if id.contains('\0') {
        return Err(ApiError::not_found("There is no client with this id."));
    }
    let wanted = form.wanted == "yes";
    let conn = &mut *state.env.pool.get().await?;
    set_wanted(conn, &id, channel, wanted, &session.principal.name).await?;
    let notice = if wanted { "channel-wanted" } else { "channel-unwanted" };
    Ok(done(&format!("/ui/clients/{}", segment(&id)), notice))
}
