//! Server-rendered pages under `/ui`, and the assets they need. Every page and every action works
//! without JavaScript; the script only refreshes what is marked `data-live`, and spares clicks.
//!
//! A page is a handler that takes a [`shell::Shell`], a struct with its template, and a file under
//! `templates/pages/<domain>/`. What repeats is a piece with a partial template ([`pieces`]).

mod account;
mod address;
mod admin;
mod analytics;
mod analytics_parts;
mod assets;
mod bulk;
pub(crate) mod chart;
mod client;
mod client_account;
mod client_channels;
mod client_edit;
mod client_form;
mod client_summaries;
mod clients;
mod clone;
mod deliveries;
mod events;
mod failures;
mod fmt;
mod forms;
mod fx_rates;
mod generate;
mod live;
mod notification;
mod notification_form;
mod notifications;
mod overview;
mod pieces;
mod plotly_js;
mod preview;
mod preview_form;
mod preview_parts;
mod providers;
mod queues;
mod run;
mod run_parts;
mod runs;
mod sandbox;
mod schedule_forms;
mod schedule_words;
mod schedules;
mod search;
pub(crate) mod shell;
mod stock_form;
mod stocks;
mod trade;
mod trade_form;
mod trades;
mod transaction;
mod transactions;
mod undecided;
mod upload;
mod upload_links;
mod upload_parts;
mod uploads;
mod webhook;
mod webhook_form;
mod webhooks;
mod workers;

use crate::{
    app::AppState,
    error::Problem,
    realtime::sse::{self, LiveHub},
};
pub use address::segment;
use askama::Template;
use axum::{
    Extension, Router,
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use pieces::Id;
use shell::Shell;

/// The pages' routes; each also needs its line in the access table (`access.rs`).
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/assets/{*path}", get(assets::serve))
        .route("/ui/login", get(account::form).post(account::log_in))
        .route("/ui/logout", post(account::log_out))
        .route("/ui/theme", post(account::choose_theme))
        .route("/ui", get(overview::show))
        .route("/ui/uploads", get(uploads::list).post(uploads::receive))
        .route("/ui/uploads/new", get(uploads::form))
        .route("/ui/uploads/{id}", get(upload::show))
        .route("/ui/uploads/{id}/rejects", get(upload::rejects))
        .route("/ui/uploads/{id}/cancel", post(upload::cancel))
        .route("/ui/uploads/{id}/retry", post(upload::retry))
        .route("/ui/uploads/{id}/undo", post(upload::undo))
        .route("/ui/previews", post(preview::receive))
        .route("/ui/previews/{id}", get(preview::show))
        .route("/ui/previews/{id}/load", post(preview::load))
        .route("/ui/runs", get(runs::list))
        .route("/ui/runs/{id}", get(run::show))
        .route("/ui/runs/{id}/retry", post(run::retry))
        .route("/ui/runs/{id}/cancel", post(run::cancel))
        .route("/ui/runs/{id}/clone", get(clone::form).post(clone::submit))
        .route("/ui/runs:retry", post(bulk::retry))
        .route("/ui/runs:cancel", post(bulk::cancel))
        .route("/ui/failures", get(failures::list))
        .route("/ui/failures/{fingerprint}", get(failures::show))
        .route("/ui/failures/{fingerprint}/retry", post(failures::retry))
        .route("/ui/schedules", get(schedules::list).post(schedule_forms::create))
        .route("/ui/schedules/new", get(schedule_forms::new))
        .route("/ui/schedules/{name}", get(schedules::show))
        .route("/ui/schedules/{name}/edit", get(schedule_forms::edit_form).post(schedule_forms::edit))
        .route("/ui/schedules/{name}/pause", post(schedules::pause))
        .route("/ui/schedules/{name}/enable", post(schedules::enable))
        .route("/ui/schedules/{name}/delete", post(schedules::delete))
        .route("/ui/schedules/{name}/run", get(schedule_forms::run_form).post(schedule_forms::run))
        .route(
            "/ui/schedules/{name}/backfill",
            get(schedule_forms::backfill_form).post(schedule_forms::backfill),
        )
        .route("/ui/alerts/{id}/acknowledge", post(schedules::seen))
        .route("/ui/queues", get(queues::list))
        .route("/ui/queues/{name}/pause", post(queues::pause_queue))
        .route("/ui/queues/{name}/resume", post(queues::resume_queue))
        .route("/ui/queues/{name}/limit", post(queues::limit))
        .route("/ui/kinds/{name}/pause", post(queues::pause_kind))
        .route("/ui/kinds/{name}/resume", post(queues::resume_kind))
        .route("/ui/workers", get(workers::list))
        .route("/ui/workers/{id}", get(workers::show))
        .route("/ui/clients", get(clients::list).post(client_form::submit))
        .route("/ui/clients/new", get(client_form::form))
        .route("/ui/clients/{id}", get(client::show))
        .route("/ui/clients/{id}/transactions.csv", get(client::export))
        .route("/ui/clients/{id}/edit", get(client_edit::form).post(client_edit::submit))
        .route("/ui/clients/{id}/holdings", get(client_account::holdings))
        .route("/ui/clients/{id}/statement", get(client_account::statement))
        .route("/ui/client-summaries", get(client_summaries::list))
        .route("/ui/client-summaries/refresh", post(client_summaries::refresh))
        .route("/ui/transactions", get(transactions::list))
        .route("/ui/transactions/live", get(live::show))
        .route("/ui/transactions/{id}", get(transaction::show))
        .route("/ui/stocks", get(stocks::list).post(stock_form::submit))
        .route("/ui/stocks/new", get(stock_form::form))
        .route("/ui/stocks/{ticker}", get(stocks::show))
        .route("/ui/trades", get(trades::list).post(trade_form::submit))
        .route("/ui/trades/new", get(trade_form::form))
        .route("/ui/trades/{id}", get(trade::show))
        .route("/ui/trades/{id}/reverse", post(trade::reverse))
        .route("/ui/notifications", get(notifications::list).post(notification_form::submit))
        .route("/ui/notifications/new", get(notification_form::form))
        .route("/ui/notifications/replay", get(deliveries::replay_form).post(deliveries::replay_failed))
        .route("/ui/notifications/undecided", get(undecided::list).post(undecided::decide))
        .route("/ui/notifications/{id}", get(notification::show))
        .route("/ui/notifications/{id}/cancel", post(deliveries::cancel))
        .route("/ui/deliveries/{id}/replay", post(deliveries::replay))
        .route("/ui/deliveries/{id}/delivered", post(deliveries::mark_delivered))
        .route("/ui/providers", get(providers::show))
        .route("/ui/circuits/{channel}/{name}", post(providers::force))
        .route("/ui/webhooks", get(webhooks::list).post(webhook_form::register))
        .route("/ui/webhooks/new", get(webhook_form::form))
        .route("/ui/webhooks/{id}", get(webhook::show))
        .route("/ui/webhooks/{id}/edit", post(webhook_form::edit))
        .route("/ui/webhooks/{id}/test", post(webhook::test))
        .route("/ui/webhooks/{id}/secret", post(webhook::secret))
        .route("/ui/webhooks/{id}/rotate", post(webhook::rotate))
        .route("/ui/webhooks/{id}/enable", post(webhook::enable))
        .route("/ui/webhooks/{id}/disable", post(webhook::disable))
        .route("/ui/webhooks/{id}/delete", post(webhook::delete))
        .route("/ui/sandbox", get(sandbox::show))
        .route("/ui/events", get(events::show))
        .route("/ui/events/{event}/channels", post(events::set_channels))
        .route("/ui/events/{event}/subscriptions", post(events::subscribe))
        .route("/ui/events/{event}/subscriptions/{id}/delete", post(events::unsubscribe))
        .route("/ui/clients/{id}/channels/{channel}", post(client_channels::set))
        .route("/ui/analytics", get(analytics::show))
        .route("/ui/admin", get(admin::show))
        .route("/ui/admin/etl", post(admin::etl))
        .route("/ui/admin/refresh", post(admin::refresh))
        .route("/ui/admin/rebuild", post(admin::rebuild))
        .route("/ui/admin/verify", post(admin::verify))
        .route("/ui/admin/verify-ledger", post(admin::verify_ledger))
        .route("/ui/generate", get(generate::form).post(generate::submit))
        .route("/ui/fx-rates", get(fx_rates::list).post(fx_rates::submit))
        .route("/ui/live", get(sse::live))
        .layer(Extension(LiveHub::default()))
}

#[derive(Template)]
#[template(path = "pages/errors/error.html")]
struct ErrorPage<'a> {
    shell: Shell,
    problem: &'a Problem,
}

/// How an error looks under `/ui`. The caller has filled in `instance` and `request_id`, and sets
/// status and headers from the problem. It asks nothing of the database, which may be what failed.
pub fn error_page(problem: &Problem) -> Response {
    let here = problem.instance.as_deref().unwrap_or("/ui");
    let shell = Shell::outside(here, None, chrono::DateTime::UNIX_EPOCH);
    match (ErrorPage { shell, problem }).render() {
        Ok(body) => Html(body).into_response(),
        Err(error) => {
            tracing::error!(%error, "the error page cannot be rendered: {error}");
            problem.title.clone().into_response()
        }
    }
}
