//! Channels and their providers: how they stand, and deciding about their circuits.

use crate::{
    actions::notifications as actions,
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    list::Listing,
    params::{Json, NoQuery},
    views::{
        providers::{ChannelView, CircuitView, EndpointCircuitView, ProviderView},
        words,
    },
};
use axum::{
    Json as Answer,
    extract::{Path, State},
};
use chrono::TimeDelta;
use serde::Deserialize;
use shared::notifications::{
    circuits,
    figures::Tally,
    model::{Channel, Circuit, Forced},
    providers::Named,
    queries::{DeliveryCount, count_deliveries},
};
use utoipa::ToSchema;

fn provider_view(
    channel: Channel,
    named: &Named,
    found: &[Circuit],
    counts: &[DeliveryCount],
) -> ProviderView {
    let name = format!("{channel}/{}", named.name);
    let circuit = found.iter().find(|circuit| circuit.name == name);
    let tally = Tally::of(counts, |count| {
        count.channel == channel.as_str() && count.provider.as_deref() == Some(named.name.as_str())
    });
    ProviderView {
        name: named.name.clone(),
        sandbox: actions::is_sandbox(named),
        per_second: named.rate,
        circuit: (channel != Channel::Webhook).then(|| CircuitView::new(circuit)),
        last_day: tally.into(),
    }
}

fn endpoint_views(found: &[Circuit]) -> Vec<EndpointCircuitView> {
    let told = found.iter().filter(|circuit| circuit.is_troubled() || circuit.forced.is_some());
    told.filter_map(|circuit| {
        let endpoint_id = circuit.name.strip_prefix("webhook/")?.parse().ok()?;
        Some(EndpointCircuitView { endpoint_id, circuit: CircuitView::new(Some(circuit)) })
    })
    .collect()
}

/// List the channels and their providers, and how they stand.
///
/// In the order in which they are tried. A channel without a provider is off, and says what to set.
#[utoipa::path(get, path = "/api/v1/providers", tag = "notifications", responses(
    (status = 200, description = "All channels; there are no pages", body = Listing<ChannelView>),
))]
pub async fn list_providers(
    State(state): State<AppState>,
    _: NoQuery,
) -> ApiResult<Answer<Listing<ChannelView>>> {
    let conn = &mut *state.env.pool.get().await?;
    let found = circuits::list(conn).await?;
    let counts = count_deliveries(conn, state.env.clock.now() - TimeDelta::hours(24)).await?;
    let waiting = circuits::waiting(conn).await?;
    let view = |&channel: &Channel| {
        let providers = state.env.notifications.providers(channel);
        ChannelView {
            channel,
            on: !providers.is_empty(),
            how: providers.is_empty().then(|| actions::how_to_turn_on(channel)),
            sandbox: actions::stands_in(&state, channel),
            pending: waiting.iter().find(|(name, _)| name == channel.as_str()).map_or(0, |(_, count)| *count),
            providers: providers.iter().map(|named| provider_view(channel, named, &found, &counts)).collect(),
            endpoints: if channel == Channel::Webhook { endpoint_views(&found) } else { Vec::new() },
        }
    };
    Ok(Answer(Listing::whole(Channel::ALL.iter().map(view).collect())))
}

/// What is decided about a circuit.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CircuitBody {
    /// `open`: it is not asked; `closed`: it is, however often it fails; null: it is left to itself, and begins closed.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(schema_with = words::forced)]
    pub forced: Option<Forced>,
}

/// Hold the circuit of a provider, or of a webhook endpoint, open or closed, or leave it to itself.
#[utoipa::path(put, path = "/api/v1/circuits/{channel}/{name}", tag = "notifications", request_body = CircuitBody,
    params(("channel" = String, Path, description = "The channel"),
        ("name" = String, Path, description = "The provider's name; for webhooks the endpoint's id")), responses(
    (status = 200, description = "The circuit", body = CircuitView),
    (status = 404, description = "There is no such channel, provider or endpoint"),
))]
pub async fn force_circuit(
    State(state): State<AppState>,
    principal: Principal,
    Path((channel, name)): Path<(String, String)>,
    _: NoQuery,
    Json(body): Json<CircuitBody>,
) -> ApiResult<Answer<CircuitView>> {
    let channel = channel_of(&channel)?;
    let circuit = actions::force_circuit(&state, &principal, channel, &name, body.forced).await?;
    Ok(Answer(CircuitView::new(Some(&circuit))))
}

/// A channel that a path names.
pub fn channel_of(text: &str) -> ApiResult<Channel> {
    text.parse().map_err(|reason| ApiError::not_found(format!("There is no such channel: {reason}.")))
}
