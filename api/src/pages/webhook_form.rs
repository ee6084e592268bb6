//! Registering a webhook endpoint, and changing one.

use super::{
    forms::{Field, Form as Fields, is_refusal, line},
    shell::{Shell, done, page},
    webhook::{self, EventChoice, event_choices},
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
use shared::notifications::{
    Event,
    endpoints::{self, EndpointPatch, NewEndpoint},
};

#[derive(Template)]
#[template(path = "pages/webhooks/new.html")]
struct NewPage {
    shell: Shell,
    form: Fields,
    events: Vec<EventChoice>,
}

/// What the form says.
#[derive(Debug, Default)]
pub(super) struct Typed {
    csrf_token: String,
    url: String,
    description: String,
    client: String,
    events: Vec<String>,
}

impl Typed {
    fn read(pairs: Vec<(String, String)>) -> Self {
        let mut typed = Self::default();
        for (name, value) in pairs {
            match name.as_str() {
                "csrf_token" => typed.csrf_token = value,
                "url" => typed.url = line(&value),
                "description" => typed.description = line(&value),
                "client_id" => typed.client = line(&value),
                "events" => typed.events.push(value),
                _ => {}
            }
        }
        typed
    }

    fn events(&self) -> ApiResult<Vec<Event>> {
        let event =
            |word: &String| word.parse().map_err(|_| ApiError::invalid("events", "There is no such event."));
        self.events.iter().map(event).collect()
    }
}

fn fields(typed: &Typed) -> Fields {
    Fields::new(vec![
        Field::new("url", "URL", &typed.url, 2000)
            .mode("url")
            .like("https://example.org/hooks/millrace")
            .hint("Where messages are posted: http or https, at a public address."),
        Field::new("description", "What it is for", &typed.description, 200).optional(),
        Field::new("client_id", "Only of client", &typed.client, 200)
            .optional()
            .hint("A client’s whole id: then it is told of that client’s events alone."),
    ])
}

/// `GET /ui/webhooks/new`.
pub(super) async fn form(shell: Shell) -> ApiResult<Response> {
    let typed = Typed::default();
    page(&NewPage { shell, form: fields(&typed), events: event_choices(&typed.events) })
}

/// `POST /ui/webhooks`.
pub(super) async fn register(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> ApiResult<Response> {
    let typed = Typed::read(pairs);
    verify_csrf(&session, &typed.csrf_token)?;
    let registered = match typed.events() {
        Ok(events) => {
            let new = NewEndpoint {
                url: typed.url.clone(),
                client_id: Some(typed.client.clone()).filter(|client| !client.is_empty()),
                description: typed.description.clone(),
                events,
            };
            let conn = &mut *state.env.pool.get().await?;
            endpoints::register(conn, &state.env.notifications, &new, &session.principal.name)
                .await
                .map_err(ApiError::from)
        }
        Err(error) => Err(error),
    };
    match registered {
        Ok(endpoint) => Ok(done(&format!("/ui/webhooks/{}", endpoint.id), "endpoint-made")),
        Err(error) if is_refusal(&error) => {
            let mut form = fields(&typed);
            form.refuse(error.problem());
            let page = page(&NewPage { shell, form, events: event_choices(&typed.events) })?;
            Ok((error.status(), page).into_response())
        }
        Err(error) => Err(error),
    }
}

/// `POST /ui/webhooks/{id}/edit`.
pub(super) async fn edit(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> ApiResult<Response> {
    let typed = Typed::read(pairs);
    verify_csrf(&session, &typed.csrf_token)?;
    let endpoint = webhook::find(&mut *state.env.pool.get().await?, &id).await?;
    let changed = match typed.events() {
        Ok(events) => {
            let patch = EndpointPatch {
                url: Some(typed.url),
                description: Some(typed.description),
                events: Some(events),
                enabled: None,
            };
            let conn = &mut *state.env.pool.get().await?;
            endpoints::change(conn, &state.env.notifications, endpoint.id, &patch, &session.principal.name)
                .await
                .map_err(ApiError::from)
        }
        Err(error) => Err(error),
    };
    match changed {
        Ok(endpoint) => Ok(done(&format!("/ui/webhooks/{}", endpoint.id), "endpoint-saved")),
        Err(error) if is_refusal(&error) => {
            let complaint = Some(error.problem().detail.clone());
            let wanted = webhook::Wanted::default();
            let mut answer = webhook::build(&state, shell, endpoint, &wanted, false, complaint).await?;
            *answer.status_mut() = error.status();
            Ok(answer)
        }
        Err(error) => Err(error),
    }
}
