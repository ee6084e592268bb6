//! The metrics, for who is logged in: a scraper sends an API key or a token as bearer.

use crate::{app::AppState, metrics, params::NoQuery};
use axum::{extract::State, response::IntoResponse};

/// Show the metrics of this process, and how the record stands, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "service", responses(
    (status = 200, description = "The metrics in Prometheus' text format, version 0.0.4", body = String,
     content_type = "text/plain"),
))]
pub async fn show_metrics(State(state): State<AppState>, _: NoQuery) -> impl IntoResponse {
    metrics::respond(Some(&state.env.pool)).await
}
