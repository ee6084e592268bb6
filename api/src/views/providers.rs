//! Channels, their providers and circuits as JSON. What a provider's URL holds is not shown.

use super::words;
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    ids::EndpointId,
    notifications::{
        figures::Tally,
        model::{Channel, Circuit, CircuitState, Forced},
    },
};
use utoipa::ToSchema;

/// Whether a provider, or an endpoint, is asked.
#[derive(Debug, Serialize, ToSchema)]
pub struct CircuitView {
    /// `closed`: it is; `open`: it is left alone; `half_open`: one message tries whether it works again.
    #[schema(schema_with = words::circuit_state)]
    pub state: CircuitState,
    /// What an operator has decided: held `open` or `closed`; null if it is left to itself.
    #[schema(schema_with = words::forced)]
    pub forced: Option<Forced>,
    /// Failures in a row.
    pub failures: i32,
    /// When it is tried again.
    pub probe_at: Option<DateTime<Utc>>,
    /// Until when it asked to be left alone.
    pub hold_until: Option<DateTime<Utc>>,
    /// When its state changed.
    pub changed_at: Option<DateTime<Utc>>,
    /// The operator who changed it.
    pub changed_by: Option<String>,
    /// What went wrong last.
    pub last_error: Option<String>,
}

impl CircuitView {
    /// A circuit; one that is not there is closed and has never failed.
    pub fn new(circuit: Option<&Circuit>) -> Self {
        let Some(circuit) = circuit else {
            return Self {
                state: CircuitState::Closed,
                forced: None,
                failures: 0,
                probe_at: None,
                hold_until: None,
                changed_at: None,
                changed_by: None,
                last_error: None,
            };
        };
        Self {
            state: circuit.state,
            forced: circuit.forced,
            failures: circuit.failures,
            probe_at: circuit.probe_at,
            hold_until: circuit.hold_until,
            changed_at: Some(circuit.changed_at),
            changed_by: circuit.changed_by.clone(),
            last_error: circuit.last_error.clone(),
        }
    }
}

/// How deliveries stand.
#[derive(Debug, Serialize, ToSchema)]
pub struct TallyView {
    /// Accepted.
    pub delivered: i64,
    /// Refused, or given up.
    pub failed: i64,
    /// Accepted or not: somebody has to decide.
    pub unknown: i64,
    /// On their way.
    pub pending: i64,
    /// Cancelled.
    pub cancelled: i64,
    /// Not wanted.
    pub suppressed: i64,
}

impl From<Tally> for TallyView {
    fn from(tally: Tally) -> Self {
        let Tally { delivered, failed, unknown, pending, cancelled, suppressed } = tally;
        Self { delivered, failed, unknown, pending, cancelled, suppressed }
    }
}

/// A provider of a channel.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderView {
    /// Its name.
    pub name: String,
    /// Whether it keeps messages instead of sending them.
    pub sandbox: bool,
    /// Messages that it takes a second, if that is limited.
    pub per_second: Option<f64>,
    /// Whether it is asked; null for webhooks, of which each endpoint has a circuit of its own.
    pub circuit: Option<CircuitView>,
    /// The deliveries of the last 24 hours that were tried with it last.
    pub last_day: TallyView,
}

/// An endpoint whose circuit has something to say.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointCircuitView {
    /// The endpoint.
    #[schema(value_type = uuid::Uuid)]
    pub endpoint_id: EndpointId,
    /// Its circuit.
    pub circuit: CircuitView,
}

/// A channel.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChannelView {
    /// Which.
    #[schema(schema_with = words::channel)]
    pub channel: Channel,
    /// Whether messages can leave over it.
    pub on: bool,
    /// What to set to turn it on.
    pub how: Option<String>,
    /// Whether the sandbox stands in: messages are kept, and none is sent.
    pub sandbox: bool,
    /// Deliveries that wait.
    pub pending: i64,
    /// Its providers, in the order in which they are tried.
    pub providers: Vec<ProviderView>,
    /// For webhooks: endpoints that fail, or about which an operator has decided.
    pub endpoints: Vec<EndpointCircuitView>,
}
