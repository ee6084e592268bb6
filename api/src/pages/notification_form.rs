//! Asking for a notification. The form carries an idempotency key that is made with it: sent twice, it is one.

use super::{
    forms::{is_refusal, line},
    notifications::{channel_words, sandboxed},
    shell::{Shell, done, page},
};
use crate::{
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult, Problem},
    params::read_instant,
};
use askama::Template;
use axum::{
    Form,
    extract::{Query, State},
    response::{IntoResponse, Response},
};
use shared::notifications::{
    model::Channel,
    request::{BODY_CHARACTERS, NotificationRequest, TITLE_CHARACTERS, Wording, request_notification},
};
use uuid::Uuid;

#[derive(Template)]
#[template(path = "pages/notifications/new.html")]
struct NewPage {
    shell: Shell,
    sandboxed: Option<String>,
    typed: Typed,
    key: Uuid,
    channels: Vec<ChannelChoice>,
    title_characters: usize,
    body_characters: usize,
    problem: Option<Problem>,
}

/// A channel to choose.
struct ChannelChoice {
    value: &'static str,
    words: &'static str,
    on: bool,
    /// It has no provider.
    off: bool,
    /// It is that of the address.
    address: bool,
}

/// What the form says.
#[derive(Debug, Default)]
pub(super) struct Typed {
    csrf_token: String,
    key: String,
    client: String,
    channels: Vec<String>,
    address_channel: String,
    address: String,
    title: String,
    body: String,
    send_at: String,
}

impl Typed {
    fn read(pairs: Vec<(String, String)>) -> Self {
        let mut typed = Self::default();
        for (name, value) in pairs {
            match name.as_str() {
                "csrf_token" => typed.csrf_token = value,
                "key" => typed.key = value,
                "client" => typed.client = line(&value),
                "channels" => typed.channels.push(value),
                "address_channel" => typed.address_channel = value,
                "address" => typed.address = line(&value),
                "title" => typed.title = line(&value),
                // Browsers end the lines of a form with both.
                "body" => typed.body = value.replace('\0', "").replace("\r\n", "\n"),
                "send_at" => typed.send_at = line(&value),
                _ => {}
            }
        }
        typed
    }

    /// The notification that it means.
    fn request(&self, state: &AppState, by: &str, key: Uuid) -> ApiResult<NotificationRequest> {
        let channel = |name: &str, word: &str| {
            word.parse::<Channel>().map_err(|_| ApiError::invalid(name, "There is no such channel."))
        };
        let to = match self.address.as_str() {
            "" => Vec::new(),
            address => vec![(channel("address", &self.address_channel)?, address.to_owned())],
        };
        let channels: ApiResult<Vec<Channel>> =
            self.channels.iter().map(|word| channel("channels", word)).collect();
        Ok(NotificationRequest {
            client_id: Some(self.client.clone()).filter(|client| !client.is_empty()),
            to,
            channels: channels?,
            wording: Wording::Plain { title: self.title.clone(), body: self.body.clone() },
            send_at: read_instant(state.env.settings.zone, "send_at", &self.send_at)?,
            by: by.to_owned(),
            key: Some(key.to_string()),
        })
    }
}

impl NewPage {
    fn new(shell: Shell, state: &AppState, typed: Typed, key: Uuid, problem: Option<Problem>) -> Self {
        let choice = |&channel: &Channel| ChannelChoice {
            value: channel.as_str(),
            words: channel_words(channel),
            on: typed.channels.iter().any(|word| word == channel.as_str()),
            off: !state.env.notifications.serves(channel),
            address: typed.address_channel == channel.as_str(),
        };
        Self {
            sandboxed: sandboxed(state),
            channels: Channel::ALL.iter().map(choice).collect(),
            title_characters: TITLE_CHARACTERS,
            body_characters: BODY_CHARACTERS,
            typed,
            key,
            problem,
            shell,
        }
    }

    /// What is wrong with a field, under the API's name for it.
    fn at(&self, field: &str) -> Option<&str> {
        let errors = &self.problem.as_ref()?.errors;
        errors.iter().find(|error| name_of(&error.field) == field).map(|error| error.detail.as_str())
    }

    /// What is wrong that is no field's fault.
    fn elsewhere(&self) -> Option<&str> {
        let problem = self.problem.as_ref()?;
        let known = ["client", "channels", "address", "title", "body", "send_at"];
        let placed = problem.errors.iter().any(|error| known.contains(&name_of(&error.field)));
        (!placed).then_some(problem.detail.as_str())
    }
}

/// The form's field of one of the API's.
fn name_of(field: &str) -> &str {
    match field {
        "client_id" => "client",
        field if field.starts_with("to") => "address",
        field => field,
    }
}

/// `GET /ui/notifications/new`.
pub(super) async fn form(
    shell: Shell,
    State(state): State<AppState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> ApiResult<Response> {
    page(&NewPage::new(shell, &state, Typed::read(pairs), Uuid::new_v4(), None))
}

/// `POST /ui/notifications`.
pub(super) async fn submit(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> ApiResult<Response> {
    let typed = Typed::read(pairs);
    verify_csrf(&session, &typed.csrf_token)?;
    let key = typed.key.parse::<Uuid>().map_err(|_| {
        ApiError::bad_request("The form was not sent whole. Open it again and send it from there.")
    })?;
    let made = match typed.request(&state, &session.principal.name, key) {
        Ok(request) => request_notification(&state.env, request).await.map_err(ApiError::from),
        Err(error) => Err(error),
    };
    match made {
        Ok(accepted) => {
            let id = accepted.notification.id;
            tracing::info!(notification.id = %id, actor = %session.principal.name, "notification {id} is asked for");
            let notice = if accepted.replayed { "notification-known" } else { "notification-made" };
            Ok(done(&format!("/ui/notifications/{id}"), notice))
        }
        Err(error) if is_refusal(&error) => {
            // Under a key that stands for another notification it would be refused for ever.
            let reused = error.problem().kind.ends_with("idempotency-key-reused");
            let key = if reused { Uuid::new_v4() } else { key };
            let form = NewPage::new(shell, &state, typed, key, Some(error.problem().clone()));
            Ok((error.status(), page(&form)?).into_response())
        }
        Err(error) => Err(error),
    }
}
