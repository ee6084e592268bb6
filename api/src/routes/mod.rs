//! The JSON routes, one file a domain. Each handler's annotation makes its line in the OpenAPI document;
//! each also needs its line in the access table (`router.rs`).

#![expect(unused_qualifications, reason = "utoipa's macro qualifies the parameters' types")]

mod accounts;
mod clients;
mod health;
mod metrics;
pub mod rejects;
mod root;
mod runs;
mod summaries;
mod tokens;
mod transactions;
mod uploads;

pub use health::livez;

use crate::{app::AppState, openapi};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

/// All JSON routes, with their document.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(root::greet))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::show_metrics))
        .routes(routes!(tokens::create_token))
        .routes(routes!(uploads::list_uploads, uploads::create_upload))
        .routes(routes!(uploads::show_upload))
        .routes(routes!(rejects::list_rejects))
        .routes(routes!(runs::list_runs))
        .routes(routes!(runs::count_runs))
        .routes(routes!(runs::show_run))
        .routes(routes!(runs::list_attempts))
        .routes(routes!(runs::list_logs))
        .routes(routes!(runs::list_children))
        .routes(routes!(runs::retry_run))
        .routes(routes!(runs::cancel_run))
        .routes(routes!(runs::list_workers))
        .routes(routes!(clients::list_clients))
        .routes(routes!(clients::show_client))
        .routes(routes!(clients::list_client_transactions))
        .routes(routes!(transactions::list_transactions))
        .routes(routes!(transactions::show_transaction))
        .routes(routes!(summaries::list_summaries))
        .routes(routes!(accounts::list_users, accounts::create_user))
        .routes(routes!(accounts::show_user))
        .routes(routes!(accounts::list_api_keys, accounts::create_api_key))
        .routes(routes!(accounts::show_api_key, accounts::revoke_api_key))
}
