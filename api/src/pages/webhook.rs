//! One webhook endpoint: how it fares, its secret on demand, trying it, rotating, enabling, deleting.

use super::{
    address::{Address, segment},
    fmt,
    notifications::{rate_words, tabs, words_of},
    pieces::{Action, Badge, Chip, Chips, Confirm, Empty, Pager, Time},
    providers::{circuit_actions, error_of, why},
    run_parts::ActionForm,
    shell::{Shell, done, page},
    upload::ConfirmPage,
    webhooks::{badge, told_of},
};
use crate::{
    actions::notifications as actions,
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult},
};
use askama::Template;
use axum::{
    Form,
    extract::{Path, Query, State},
    response::Response,
};
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use serde::Deserialize;
use shared::{
    ids::{EndpointId, NotificationId},
    notifications::{
        Event, circuits,
        endpoints::{self, EndpointPatch, OVERLAP_HOURS},
        figures::{endpoint_tallies, titles},
        model::{Channel, Circuit, Delivery, DeliveryState, Endpoint},
        queries::{DeliveryFilter, list_deliveries},
    },
    pagination::{Cursor, PageRequest},
};
use std::collections::HashMap;

/// Deliveries of a page.
const ROWS: i64 = 25;

#[derive(Template)]
#[template(path = "pages/webhooks/webhook.html")]
struct EndpointPage {
    shell: Shell,
    tabs: Chips,
    endpoint: Endpoint,
    href: String,
    badge: Badge,
    why: Vec<String>,
    error: Option<String>,
    success: Option<String>,
    pending: i64,
    told_of: String,
    client_href: Option<String>,
    registered: Time,
    overlap: Option<String>,
    secret: Option<Secret>,
    test: Action,
    reveal: Action,
    circuit_actions: Vec<Action>,
    toggle: Action,
    delete: Action,
    events: Vec<EventChoice>,
    complaint: Option<String>,
    overlap_hours: u32,
    states: Chips,
    deliveries: Vec<Line>,
    pager: Pager,
    empty: Option<Empty>,
}

/// The secrets, as somebody asked to see them.
pub(super) struct Secret {
    now: String,
    previous: Option<(String, String)>,
}

/// An event to be told of.
pub(super) struct EventChoice {
    pub value: &'static str,
    pub words: String,
    pub on: bool,
}

/// The events to choose from.
pub(super) fn event_choices(chosen: &[String]) -> Vec<EventChoice> {
    let choice = |event: &Event| EventChoice {
        value: event.as_str(),
        words: fmt::words(event.as_str()),
        on: chosen.iter().any(|name| name == event.as_str()),
    };
    Event::ALL.iter().map(choice).collect()
}

struct Line {
    id: String,
    href: String,
    title: String,
    badge: Badge,
    attempts: i32,
    error: Option<String>,
    at: Time,
}

impl Line {
    fn new(delivery: &Delivery, titles: &HashMap<NotificationId, String>, shell: &Shell) -> Self {
        let title = titles.get(&delivery.notification_id).map(|title| fmt::cut(title, 100));
        Self {
            id: delivery.id.to_string(),
            href: format!("/ui/notifications/{}", delivery.notification_id),
            title: title.unwrap_or_default(),
            badge: delivery.state.into(),
            attempts: delivery.attempts,
            error: delivery
                .error_message
                .as_deref()
                .filter(|_| delivery.state != DeliveryState::Delivered)
                .map(|error| fmt::cut(error, 160)),
            at: shell.ago(delivery.last_attempt_at.unwrap_or_else(|| delivery.id.created_at())),
        }
    }
}

/// The endpoint of this id, or the page that says there is none.
pub(super) async fn find(conn: &mut AsyncPgConnection, id: &str) -> ApiResult<Endpoint> {
    let found = match id.parse::<EndpointId>() {
        Ok(id) => endpoints::find(conn, id).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| {
        ApiError::not_found("There is no webhook endpoint with this id. It may have been deleted.")
    })
}

fn delete_question(shell: &Shell, endpoint: &Endpoint, pending: i64) -> Confirm {
    let path = format!("/ui/webhooks/{}", endpoint.id);
    let waiting = match pending {
        0 => "Nothing waits to be sent to it.".to_owned(),
        1 => "1 message that waits to be sent to it fails.".to_owned(),
        more => format!("{} messages that wait to be sent to it fail.", fmt::count(more)),
    };
    Confirm {
        id: "delete-endpoint",
        title: "Delete the endpoint?".to_owned(),
        consequence: format!(
            "{} is told of nothing more, and its secret is gone. {waiting} What was delivered stays on record.",
            fmt::cut(&endpoint.url, 80)
        ),
        label: "Delete the endpoint".to_owned(),
        href: format!("{path}/delete"),
        back: path,
        csrf: shell.csrf().to_owned(),
        fields: Vec::new(),
        danger: true,
    }
}

fn toggle(shell: &Shell, endpoint: &Endpoint) -> Action {
    let path = format!("/ui/webhooks/{}", endpoint.id);
    match endpoint.disabled_at {
        Some(_) => shell.action("Enable", format!("{path}/enable"), None),
        None => shell.action("Disable", format!("{path}/disable"), None),
    }
}

fn state_chips(states: &[DeliveryState], here: &Address) -> Chips {
    let chip = |&state: &DeliveryState| {
        let href = super::notifications::toggled(states, state, "state", here);
        Chip::way(state.as_str(), href, states.contains(&state))
    };
    Chips { label: "State", chips: DeliveryState::ALL.iter().map(chip).collect() }
}

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    state: Option<String>,
    cursor: Option<String>,
}

/// Pending deliveries to an endpoint, of those made lately.
async fn pending_to(conn: &mut AsyncPgConnection, id: EndpointId) -> ApiResult<i64> {
    let tallies = endpoint_tallies(conn, DateTime::<Utc>::UNIX_EPOCH).await?;
    Ok(tallies.get(&id).map_or(0, |tally| tally.pending))
}

/// The page, with the secret if somebody asked for it, or with what is wrong with a form.
pub(super) async fn build(
    state: &AppState,
    mut shell: Shell,
    endpoint: Endpoint,
    wanted: &Wanted,
    secret: bool,
    complaint: Option<String>,
) -> ApiResult<Response> {
    let href = format!("/ui/webhooks/{}", endpoint.id);
    let states: Vec<DeliveryState> = words_of(wanted.state.as_deref());
    let written = states.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let here = Address::new(href.clone()).with("state", &written);
    let cursor = wanted.cursor.as_deref().map(Cursor::decode).transpose()?;
    let request = PageRequest { limit: ROWS, cursor };
    let filter = DeliveryFilter { endpoint_id: Some(endpoint.id), states, ..DeliveryFilter::default() };
    let mut conn = state.env.pool.get().await?;
    let found = list_deliveries(&mut conn, &filter, &request).await?;
    let ids: Vec<NotificationId> = found.items.iter().map(|delivery| delivery.notification_id).collect();
    let titles = titles(&mut conn, &ids).await?;
    let tallies = endpoint_tallies(&mut conn, shell.now - TimeDelta::hours(24)).await?;
    let circuit = circuits::find(&mut conn, &format!("webhook/{}", endpoint.id)).await?;
    drop(conn);
    let tally = tallies.get(&endpoint.id).copied().unwrap_or_default();
    shell.moving = tally.pending > 0 && !secret;
    let previous = endpoint.previous_until.filter(|until| *until > shell.now);
    let disabled = endpoint.disabled_at.is_some().then(|| "it is disabled".to_owned());
    let from = ("from", "endpoint".to_owned());
    let with_way_back = |action: Action| Action {
        fields: [action.fields.as_slice(), std::slice::from_ref(&from)].concat(),
        ..action
    };
    let id = endpoint.id.to_string();
    let forcing = circuit_actions(&shell, Channel::Webhook, &id, circuit.as_ref());
    let delete = shell.action("Delete", format!("{href}/delete"), None);
    page(&EndpointPage {
        tabs: tabs("webhooks"),
        badge: badge(&endpoint, circuit.as_ref()),
        why: circuit.as_ref().map(|circuit: &Circuit| why(circuit, &shell)).unwrap_or_default(),
        error: error_of(circuit.as_ref()),
        success: rate_words(&tally),
        pending: tally.pending,
        told_of: told_of(&endpoint),
        client_href: endpoint.client_id.as_ref().map(|id| format!("/ui/clients/{}", segment(id))),
        registered: shell.date(endpoint.created_at),
        overlap: previous.map(|until| shell.when(until)),
        secret: secret.then(|| Secret {
            now: endpoint.secret.clone(),
            previous: endpoint
                .previous_secret
                .clone()
                .zip(previous)
                .map(|(secret, until)| (secret, shell.when(until))),
        }),
        test: shell.action("Send a test event", format!("{href}/test"), disabled),
        reveal: shell.action("Show the secret", format!("{href}/secret"), None),
        circuit_actions: forcing.into_iter().map(with_way_back).collect(),
        toggle: toggle(&shell, &endpoint),
        delete: shell.dangerous(delete, delete_question(&shell, &endpoint, tally.pending)),
        events: event_choices(&endpoint.events),
        complaint,
        overlap_hours: OVERLAP_HOURS,
        states: state_chips(&filter.states, &here),
        pager: Pager::by_time(&found, &here, "message"),
        empty: found.items.is_empty().then(|| match here.is_filtered() {
            true => Empty::nothing_matches(
                "messages",
                &format!("the state {}", written.replace(',', " or ")),
                &href,
            ),
            false => Empty::nothing_yet(
                "Nothing was sent to it yet",
                "A test event says whether it answers.",
                "All notifications",
                "/ui/notifications?channel=webhook",
            ),
        }),
        deliveries: found.items.iter().map(|delivery| Line::new(delivery, &titles, &shell)).collect(),
        href,
        endpoint,
        shell,
    })
}

/// `GET /ui/webhooks/{id}`.
pub(super) async fn show(
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Query(wanted): Query<Wanted>,
) -> ApiResult<Response> {
    let endpoint = find(&mut *state.env.pool.get().await?, &id).await?;
    build(&state, shell, endpoint, &wanted, false, None).await
}

/// `POST /ui/webhooks/{id}/secret`: the page with the secret, which no address leads to.
pub(super) async fn secret(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    let endpoint = find(&mut *state.env.pool.get().await?, &id).await?;
    build(&state, shell, endpoint, &Wanted::default(), true, None).await
}

/// `POST /ui/webhooks/{id}/test`.
pub(super) async fn test(
    session: PageSession,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    let endpoint = find(&mut *state.env.pool.get().await?, &id).await?;
    let accepted = actions::test_endpoint(&state, &session.principal, endpoint.id).await?;
    Ok(done(&format!("/ui/notifications/{}", accepted.notification.id), "endpoint-test"))
}

/// What the form that rotates says.
#[derive(Deserialize)]
pub(super) struct RotateForm {
    csrf_token: String,
    #[serde(default)]
    overlap_hours: String,
}

/// `POST /ui/webhooks/{id}/rotate`: the page with the fresh secret.
pub(super) async fn rotate(
    session: PageSession,
    mut shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(form): Form<RotateForm>,
) -> ApiResult<Response> {
    verify_csrf(&session, &form.csrf_token)?;
    let endpoint = find(&mut *state.env.pool.get().await?, &id).await?;
    let rotated = match form.overlap_hours.trim().parse::<u32>() {
        Ok(hours) => {
            let conn = &mut *state.env.pool.get().await?;
            endpoints::rotate_secret(conn, endpoint.id, hours, &session.principal.name)
                .await
                .map_err(ApiError::from)
        }
        Err(_) => Err(ApiError::invalid("overlap_hours", "An overlap is a number of hours, from 0 to 720.")),
    };
    match rotated {
        Ok(endpoint) => {
            shell.notice = Some("It has a fresh secret. Take it over into the receiver.");
            build(&state, shell, endpoint, &Wanted::default(), true, None).await
        }
        Err(error) if super::forms::is_refusal(&error) => {
            let complaint = Some(error.problem().detail.clone());
            let mut answer = build(&state, shell, endpoint, &Wanted::default(), false, complaint).await?;
            *answer.status_mut() = error.status();
            Ok(answer)
        }
        Err(error) => Err(error),
    }
}

async fn set_enabled(
    session: &PageSession,
    state: &AppState,
    id: &str,
    form: &ActionForm,
    enabled: bool,
) -> ApiResult<Response> {
    form.verify(session)?;
    let conn = &mut *state.env.pool.get().await?;
    let endpoint = find(conn, id).await?;
    let patch = EndpointPatch { enabled: Some(enabled), ..EndpointPatch::default() };
    endpoints::change(conn, &state.env.notifications, endpoint.id, &patch, &session.principal.name).await?;
    let notice = if enabled { "endpoint-enabled" } else { "endpoint-disabled" };
    Ok(done(&format!("/ui/webhooks/{}", endpoint.id), notice))
}

/// `POST /ui/webhooks/{id}/enable`.
pub(super) async fn enable(
    session: PageSession,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    set_enabled(&session, &state, &id, &form, true).await
}

/// `POST /ui/webhooks/{id}/disable`.
pub(super) async fn disable(
    session: PageSession,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    set_enabled(&session, &state, &id, &form, false).await
}

/// `POST /ui/webhooks/{id}/delete`; asks first.
pub(super) async fn delete(
    session: PageSession,
    shell: Shell,
    State(state): State<AppState>,
    Path(id): Path<String>,
    Form(form): Form<ActionForm>,
) -> ApiResult<Response> {
    form.verify(&session)?;
    let conn = &mut *state.env.pool.get().await?;
    let endpoint = find(conn, &id).await?;
    if !form.is_confirmed() {
        let confirm = delete_question(&shell, &endpoint, pending_to(conn, endpoint.id).await?);
        return page(&ConfirmPage { shell, title: "Delete the endpoint", confirm });
    }
    endpoints::remove(conn, endpoint.id, &session.principal.name).await?;
    Ok(done("/ui/webhooks", "endpoint-deleted"))
}
