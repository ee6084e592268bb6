//! Channels and their providers: whether each is asked, why not, when it is again, and deciding about that. What
//! a provider's URL holds is not shown.

use super::{
    fmt,
    notifications::{channel_words, rate_words, tabs},
    pieces::{Action, Badge, Chips},
    shell::{Shell, done, page},
};
use crate::{
    actions::notifications::{self as actions, stands_in},
    app::AppState,
    auth::{PageSession, verify_csrf},
    error::{ApiError, ApiResult},
    routes::providers::channel_of,
};
use askama::Template;
use axum::{
    Form,
    extract::{Path, State},
    response::Response,
};
use chrono::TimeDelta;
use serde::Deserialize;
use shared::{
    config::variable,
    ids::EndpointId,
    notifications::{
        circuits, endpoints,
        figures::Tally,
        model::{Channel, Circuit, CircuitState, Endpoint, Forced},
        queries::{DeliveryCount, count_deliveries},
    },
};
use std::collections::HashMap;

#[derive(Template)]
#[template(path = "pages/providers/list.html")]
struct ProvidersPage {
    shell: Shell,
    tabs: Chips,
    summary: String,
    channels: Vec<ChannelPart>,
}

struct ChannelPart {
    name: &'static str,
    word: &'static str,
    badge: Badge,
    /// What to set to turn it on.
    variable: Option<&'static str>,
    sandbox: bool,
    pending: i64,
    providers: Vec<ProviderLine>,
    /// Endpoints that fail, or about which somebody has decided.
    endpoints: Vec<ProviderLine>,
}

struct ProviderLine {
    key: String,
    name: String,
    href: Option<String>,
    place: Option<usize>,
    /// None: each endpoint has its own.
    badge: Option<Badge>,
    why: Vec<String>,
    error: Option<String>,
    rate: Option<String>,
    success: Option<String>,
    pending: i64,
    actions: Vec<Action>,
}

/// Why it is where it is, and when that ends.
pub(super) fn why(circuit: &Circuit, shell: &Shell) -> Vec<String> {
    let mut words = Vec::new();
    if circuit.forced.is_some() {
        let by = circuit.changed_by.as_deref().unwrap_or("an operator");
        words.push(format!("by {by}, {}", fmt::ago(circuit.changed_at, shell.now)));
    } else if circuit.state != CircuitState::Closed {
        words.push(format!("after {} in a row", fmt::counted(i64::from(circuit.failures), "failure")));
        match (circuit.state, circuit.probe_at) {
            (CircuitState::Open, Some(at)) if at > shell.now => {
                words.push(format!("tried again {}", shell.when(at)));
            }
            (CircuitState::Open, _) => words.push("the next message tries it".to_owned()),
            _ => words.push("one message tries it now".to_owned()),
        }
    } else if circuit.failures > 0 {
        words.push(format!("{} in a row", fmt::counted(i64::from(circuit.failures), "failure")));
    }
    if let Some(hold) = circuit.hold_until.filter(|hold| *hold > shell.now) {
        words.push(format!("asked to be left alone until {}", shell.when(hold)));
    }
    words
}

/// The buttons of a circuit.
pub(super) fn circuit_actions(
    shell: &Shell,
    channel: Channel,
    name: &str,
    circuit: Option<&Circuit>,
) -> Vec<Action> {
    let forced = circuit.and_then(|circuit| circuit.forced);
    let troubled = circuit.is_some_and(Circuit::is_troubled);
    let action = |label: &str, word: &str| Action {
        fields: vec![("forced", word.to_owned())],
        ..shell.action(label, format!("/ui/circuits/{channel}/{name}"), None)
    };
    let mut actions = Vec::new();
    if forced.is_some() {
        actions.push(action("Leave it to itself", "automatic"));
    } else if troubled {
        actions.push(action("Close it now", "automatic"));
    }
    if forced != Some(Forced::Open) {
        actions.push(action("Hold open", "open"));
    }
    if forced != Some(Forced::Closed) {
        actions.push(action("Hold closed", "closed"));
    }
    actions
}

/// What there is to know of all circuits.
struct Known {
    circuits: HashMap<String, Circuit>,
    counts: Vec<DeliveryCount>,
    waiting: HashMap<String, i64>,
    endpoints: HashMap<EndpointId, Endpoint>,
}

impl Known {
    fn provider_lines(&self, state: &AppState, channel: Channel, shell: &Shell) -> Vec<ProviderLine> {
        let providers = state.env.notifications.providers(channel);
        let line = |(at, named): (usize, &shared::notifications::providers::Named)| {
            let circuit = self.circuits.get(&format!("{channel}/{}", named.name));
            let tally = Tally::of(&self.counts, |count| {
                count.channel == channel.as_str() && count.provider.as_deref() == Some(named.name.as_str())
            });
            let alone = channel != Channel::Webhook;
            ProviderLine {
                key: format!("{channel}-{}", named.name),
                name: named.name.clone(),
                href: None,
                place: (providers.len() > 1).then_some(at + 1),
                badge: alone.then(|| Badge::circuit(circuit)),
                why: circuit.filter(|_| alone).map(|circuit| why(circuit, shell)).unwrap_or_default(),
                error: error_of(circuit.filter(|_| alone)),
                rate: named.rate.map(|rate| format!("{rate} a second")),
                success: rate_words(&tally),
                pending: tally.pending,
                actions: if alone {
                    circuit_actions(shell, channel, &named.name, circuit)
                } else {
                    Vec::new()
                },
            }
        };
        providers.iter().enumerate().map(line).collect()
    }

    fn endpoint_lines(&self, shell: &Shell) -> Vec<ProviderLine> {
        let mut lines: Vec<ProviderLine> = self
            .circuits
            .values()
            .filter(|circuit| circuit.is_troubled() || circuit.forced.is_some())
            .filter_map(|circuit| {
                let id: EndpointId = circuit.name.strip_prefix("webhook/")?.parse().ok()?;
                let endpoint = self.endpoints.get(&id)?;
                let tally = Tally::of(&self.counts, |count| count.endpoint_id == Some(id));
                Some(ProviderLine {
                    key: circuit.name.clone(),
                    name: fmt::cut(&endpoint.url, 80),
                    href: Some(format!("/ui/webhooks/{id}")),
                    place: None,
                    badge: Some(Badge::circuit(Some(circuit))),
                    why: why(circuit, shell),
                    error: error_of(Some(circuit)),
                    rate: None,
                    success: rate_words(&tally),
                    pending: tally.pending,
                    actions: circuit_actions(shell, Channel::Webhook, &id.to_string(), Some(circuit)),
                })
            })
            .collect();
        lines.sort_by(|one, other| one.name.cmp(&other.name));
        lines
    }
}

/// The last error, while it means something.
pub(super) fn error_of(circuit: Option<&Circuit>) -> Option<String> {
    let circuit = circuit.filter(|circuit| circuit.is_troubled())?;
    circuit.last_error.as_deref().map(|error| fmt::cut(error, 400))
}

fn channel_part(state: &AppState, known: &Known, channel: Channel, shell: &Shell) -> ChannelPart {
    let sandbox = stands_in(state, channel);
    let on = state.env.notifications.serves(channel);
    let endpoints = channel == Channel::Webhook;
    ChannelPart {
        name: channel_words(channel),
        word: channel.as_str(),
        badge: match (on, sandbox) {
            (false, _) => Badge::off(),
            (true, true) => Badge::sandbox(),
            (true, false) => Badge::on(),
        },
        variable: (!on || sandbox).then(|| variable(channel)),
        sandbox,
        pending: known.waiting.get(channel.as_str()).copied().unwrap_or_default(),
        providers: known.provider_lines(state, channel, shell),
        endpoints: if endpoints { known.endpoint_lines(shell) } else { Vec::new() },
    }
}

/// `GET /ui/providers`.
pub(super) async fn show(mut shell: Shell, State(state): State<AppState>) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let circuits = circuits::list(&mut conn).await?;
    let counts = count_deliveries(&mut conn, shell.now - TimeDelta::hours(24)).await?;
    let waiting = circuits::waiting(&mut conn).await?;
    let endpoints = endpoints::list(&mut conn).await?;
    drop(conn);
    let is_open =
        |circuit: &&Circuit| circuit.forced == Some(Forced::Open) || circuit.state != CircuitState::Closed;
    let open = circuits.iter().filter(is_open).count();
    let pending: i64 = waiting.iter().map(|(_, count)| count).sum();
    shell.moving = pending > 0;
    let known = Known {
        circuits: circuits.into_iter().map(|circuit| (circuit.name.clone(), circuit)).collect(),
        counts,
        waiting: waiting.into_iter().collect(),
        endpoints: endpoints.into_iter().map(|endpoint| (endpoint.id, endpoint)).collect(),
    };
    let broken = match i64::try_from(open).unwrap_or(i64::MAX) {
        0 => "Every circuit is closed: none is left alone.".to_owned(),
        1 => "1 circuit is open: nothing goes that way.".to_owned(),
        open => format!("{} circuits are open: nothing goes those ways.", fmt::count(open)),
    };
    page(&ProvidersPage {
        tabs: tabs("providers"),
        summary: format!("{broken} {} to be sent.", fmt::counted(pending, "message")),
        channels: Channel::ALL.iter().map(|&channel| channel_part(&state, &known, channel, &shell)).collect(),
        shell,
    })
}

/// What is decided about a circuit.
#[derive(Deserialize)]
pub(super) struct ForceForm {
    csrf_token: String,
    forced: String,
    /// The endpoint's page, if it was asked there.
    from: Option<String>,
}

/// `POST /ui/circuits/{channel}/{name}`.
pub(super) async fn force(
    session: PageSession,
    State(state): State<AppState>,
    Path((channel, name)): Path<(String, String)>,
    Form(form): Form<ForceForm>,
) -> ApiResult<Response> {
    verify_csrf(&session, &form.csrf_token)?;
    let channel = channel_of(&channel)?;
    let (forced, notice) = match form.forced.as_str() {
        "open" => (Some(Forced::Open), "circuit-open"),
        "closed" => (Some(Forced::Closed), "circuit-closed"),
        "automatic" => (None, "circuit-automatic"),
        _ => return Err(ApiError::bad_request("A circuit is held open or closed, or left to itself.")),
    };
    actions::force_circuit(&state, &session.principal, channel, &name, forced).await?;
    let endpoint = name.parse::<EndpointId>().ok().filter(|_| form.from.as_deref() == Some("endpoint"));
    let back = endpoint.map_or_else(|| "/ui/providers".to_owned(), |id| format!("/ui/webhooks/{id}"));
    Ok(done(&back, notice))
}
