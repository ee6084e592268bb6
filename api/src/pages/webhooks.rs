//! Webhook endpoints: the list.

use super::{
    address::segment,
    fmt,
    notifications::{rate_words, sandboxed, tabs},
    pieces::{Badge, Chips, Empty, Time},
    shell::{Shell, page},
};
use crate::{actions::notifications::stands_in, app::AppState, error::ApiResult};
use askama::Template;
use axum::{extract::State, response::Response};
use chrono::TimeDelta;
use shared::notifications::{
    circuits, endpoints,
    figures::{Tally, endpoint_tallies},
    model::{Channel, Circuit, Endpoint},
};
use std::collections::HashMap;

#[derive(Template)]
#[template(path = "pages/webhooks/list.html")]
struct ListPage {
    shell: Shell,
    tabs: Chips,
    sandboxed: Option<String>,
    on: bool,
    endpoints: Vec<Line>,
    empty: Option<Empty>,
}

struct Line {
    id: String,
    href: String,
    url: String,
    description: String,
    badge: Badge,
    why: Option<String>,
    events: String,
    client: Option<(String, String)>,
    success: Option<String>,
    failed: i64,
    registered: Time,
}

/// Where an endpoint stands.
pub(super) fn badge(endpoint: &Endpoint, circuit: Option<&Circuit>) -> Badge {
    if endpoint.disabled_at.is_some() { Badge::disabled() } else { Badge::circuit(circuit) }
}

/// What it is told of, in words.
pub(super) fn told_of(endpoint: &Endpoint) -> String {
    match (endpoint.events.as_slice(), &endpoint.client_id) {
        ([], Some(_)) => "every event of its client".to_owned(),
        ([], None) => "only what is sent to it".to_owned(),
        (events, _) => events.iter().map(|event| fmt::words(event)).collect::<Vec<_>>().join(", "),
    }
}

impl Line {
    fn new(endpoint: &Endpoint, circuits: &HashMap<String, Circuit>, tally: Tally, shell: &Shell) -> Self {
        let circuit = circuits.get(&format!("webhook/{}", endpoint.id));
        let why = circuit.map(|circuit| super::providers::why(circuit, shell).join("; "));
        Self {
            id: endpoint.id.to_string(),
            href: format!("/ui/webhooks/{}", endpoint.id),
            url: fmt::cut(&endpoint.url, 120),
            description: fmt::cut(&endpoint.description, 120),
            badge: badge(endpoint, circuit),
            why: match &endpoint.disabled_reason {
                Some(reason) => Some(fmt::cut(reason, 160)),
                None => why.filter(|why| !why.is_empty()),
            },
            events: told_of(endpoint),
            client: endpoint
                .client_id
                .as_ref()
                .map(|id| (fmt::cut(id, 40), format!("/ui/clients/{}", segment(id)))),
            success: rate_words(&tally),
            failed: tally.failed + tally.unknown,
            registered: shell.ago(endpoint.created_at),
        }
    }
}

/// `GET /ui/webhooks`.
pub(super) async fn list(shell: Shell, State(state): State<AppState>) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let endpoints = endpoints::list(&mut conn).await?;
    let tallies = endpoint_tallies(&mut conn, shell.now - TimeDelta::hours(24)).await?;
    let circuits = circuits::list(&mut conn).await?;
    drop(conn);
    let circuits: HashMap<String, Circuit> =
        circuits.into_iter().map(|circuit| (circuit.name.clone(), circuit)).collect();
    let line = |endpoint: &Endpoint| {
        Line::new(endpoint, &circuits, tallies.get(&endpoint.id).copied().unwrap_or_default(), &shell)
    };
    page(&ListPage {
        tabs: tabs("webhooks"),
        on: state.env.notifications.serves(Channel::Webhook),
        sandboxed: sandboxed(&state).filter(|_| stands_in(&state, Channel::Webhook)),
        empty: endpoints.is_empty().then(|| {
            Empty::nothing_yet(
                "No webhook endpoint yet",
                "An endpoint is a URL of a program that wants to be told: each message is posted to it as JSON, signed \
                 with its secret.",
                "Register an endpoint",
                "/ui/webhooks/new",
            )
        }),
        endpoints: endpoints.iter().map(line).collect(),
        shell,
    })
}
