//! The JSON routes, one file a domain. Each handler's annotation makes its line in the OpenAPI document;
//! each also needs its line in the access table (`access.rs`).

#![expect(unused_qualifications, reason = "utoipa's macro qualifies the parameters' types")]

mod accounts;
mod analytics;
pub mod backfills;
mod bulk;
mod client_analytics;
pub mod clients;
mod deletion;
mod deliveries;
mod etl;
pub mod events;
pub mod failures;
pub mod fx_rates;
mod health;
mod kinds;
mod ledger;
pub mod live;
mod metrics;
mod nightly;
mod notifications;
mod previews;
pub mod providers;
mod queues;
pub mod rejects;
mod root;
mod runs;
mod schedules;
mod stocks;
pub mod summaries;
pub mod synthetic;
mod tokens;
mod trades;
mod transactions;
mod uploads;
mod webhook_endpoints;
mod workers;

pub use health::livez;

use crate::{
    app::AppState,
    compat, openapi,
    realtime::{stream, websocket},
};
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
        .routes(routes!(uploads::undo_upload))
        .routes(routes!(rejects::list_rejects))
        .routes(routes!(etl::run_etl))
        .routes(routes!(synthetic::download))
        .routes(routes!(synthetic::generate))
        .routes(routes!(nightly::run_nightly))
        .routes(routes!(previews::create_preview))
        .routes(routes!(previews::show_preview))
        .routes(routes!(previews::load_preview))
        .routes(routes!(fx_rates::list_fx_rates, fx_rates::add_fx_rate))
        .routes(routes!(runs::list_runs))
        .routes(routes!(runs::count_runs))
        .routes(routes!(runs::show_run))
        .routes(routes!(runs::list_attempts))
        .routes(routes!(runs::list_logs))
        .routes(routes!(runs::list_children))
        .routes(routes!(runs::retry_run))
        .routes(routes!(runs::cancel_run))
        .routes(routes!(runs::clone_run))
        .routes(routes!(bulk::retry_runs))
        .routes(routes!(bulk::cancel_runs))
        .routes(routes!(schedules::list_schedules, schedules::create_schedule))
        .routes(routes!(schedules::show_schedule, schedules::edit_schedule, schedules::delete_schedule))
        .routes(routes!(schedules::pause_schedule))
        .routes(routes!(schedules::enable_schedule))
        .routes(routes!(schedules::run_schedule))
        .routes(routes!(schedules::list_ticks))
        .routes(routes!(schedules::read_cron))
        .routes(routes!(backfills::preview_backfill, backfills::start_backfill))
        .routes(routes!(backfills::list_alerts))
        .routes(routes!(backfills::acknowledge_alert))
        .routes(routes!(queues::list_queues))
        .routes(routes!(queues::show_queue))
        .routes(routes!(queues::pause_queue))
        .routes(routes!(queues::resume_queue))
        .routes(routes!(queues::limit_queue))
        .routes(routes!(kinds::list_kinds))
        .routes(routes!(kinds::show_kind))
        .routes(routes!(kinds::pause_kind))
        .routes(routes!(kinds::resume_kind))
        .routes(routes!(workers::list_workers))
        .routes(routes!(workers::show_worker))
        .routes(routes!(failures::list_failures))
        .routes(routes!(failures::show_failure))
        .routes(routes!(failures::retry_failure))
        .routes(routes!(clients::list_clients, clients::register_client))
        .routes(routes!(clients::show_client_by_username))
        .routes(routes!(stocks::list_stocks, stocks::create_stock))
        .routes(routes!(stocks::show_stock))
        .routes(routes!(trades::list_trades, trades::place_trade))
        .routes(routes!(trades::show_trade))
        .routes(routes!(trades::reverse_trade))
        .routes(routes!(trades::list_client_trades))
        .routes(routes!(ledger::show_holdings))
        .routes(routes!(ledger::show_statement))
        .routes(routes!(ledger::show_balance))
        .routes(routes!(ledger::verify_ledger))
        .routes(routes!(clients::show_client, clients::change_client))
        .routes(routes!(clients::list_client_transactions))
        .routes(routes!(client_analytics::show_statistics))
        .routes(routes!(client_analytics::show_risk_profile))
        .routes(routes!(client_analytics::show_spend_trend))
        .routes(routes!(client_analytics::show_trades_summary))
        .routes(routes!(
            transactions::list_transactions,
            live::add_transaction,
            deletion::delete_transactions
        ))
        .routes(routes!(live::add_transactions))
        .routes(routes!(stream::stream_transactions))
        .routes(routes!(websocket::socket_transactions))
        .routes(routes!(transactions::show_transaction))
        .routes(routes!(summaries::list_summaries))
        .routes(routes!(summaries::refresh_summaries))
        .routes(routes!(analytics::list_averages))
        .routes(routes!(analytics::list_top_merchants))
        .routes(routes!(analytics::list_top_clients))
        .routes(routes!(analytics::list_breakdown))
        .routes(routes!(summaries::rebuild_summaries))
        .routes(routes!(summaries::verify_summaries))
        .routes(routes!(accounts::list_users, accounts::create_user))
        .routes(routes!(accounts::show_user))
        .routes(routes!(accounts::list_api_keys, accounts::create_api_key))
        .routes(routes!(accounts::show_api_key, accounts::revoke_api_key))
        .routes(routes!(notifications::list_notifications, notifications::create_notification))
        .routes(routes!(notifications::show_notification))
        .routes(routes!(notifications::cancel_notification))
        .routes(routes!(deliveries::list_deliveries))
        .routes(routes!(deliveries::show_delivery))
        .routes(routes!(deliveries::replay_delivery))
        .routes(routes!(deliveries::mark_delivered))
        .routes(routes!(deliveries::replay_deliveries))
        .routes(routes!(deliveries::mark_deliveries))
        .routes(routes!(webhook_endpoints::list_endpoints, webhook_endpoints::register_endpoint))
        .routes(routes!(
            webhook_endpoints::show_endpoint,
            webhook_endpoints::change_endpoint,
            webhook_endpoints::remove_endpoint
        ))
        .routes(routes!(webhook_endpoints::show_secret))
        .routes(routes!(webhook_endpoints::rotate_secret))
        .routes(routes!(webhook_endpoints::test_endpoint))
        .routes(routes!(providers::list_providers))
        .routes(routes!(providers::force_circuit))
        .routes(routes!(events::list_events))
        .routes(routes!(events::set_event_channels))
        .routes(routes!(events::subscribe))
        .routes(routes!(events::unsubscribe))
        .routes(routes!(events::list_client_channels))
        .routes(routes!(events::set_client_channel))
        .merge(compat::router())
}
