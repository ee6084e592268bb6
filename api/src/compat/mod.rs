//! Routes of the services that Millrace replaces, so that their clients work by changing the base URL.
//! Thin: each handler reads what the service read, calls what Millrace's own routes call, and writes what
//! the service wrote. The folder can be read, and one day removed, as a unit; its faults are not kept (a
//! 500 of theirs is the 4xx that it should have been, lists end, nothing is dropped in silence).
//!
//! A to E name the services as the contracts do: A has clients and their transactions, B monitors transactions as
//! they come, C has summaries and notifications, D users who trade stocks, E takes files and has figures of users.

mod analysis;
mod analysis_api;
mod clients_etl;
mod dashboard;
mod fields;
mod live_figures;
mod live_monitoring;
mod live_shapes;
mod moment;
mod notifications;
mod rate;
mod stock_orders;
mod stock_trading;
mod summaries;

use crate::{app::AppState, auth::Principal, error::Problem};
use axum::http::{HeaderMap, header};
use serde_json::Value;
use shared::auth::Role;
use utoipa_axum::router::OpenApiRouter;

/// Whose route a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    /// A's tokens.
    Tokens,
    /// A's list of transactions, of which one path is D's, too, and the other B's.
    Transactions,
    /// B, but for the row that has A's path.
    Monitoring,
    /// C's summaries and notifications.
    Summaries,
    /// D, but for the list that has A's path.
    Trading,
    /// E.
    Analysis,
}

/// All of them, with their document.
pub fn router() -> OpenApiRouter<AppState> {
    clients_etl::router()
        .merge(live_monitoring::router())
        .merge(summaries::router())
        .merge(notifications::router())
        .merge(stock_trading::router())
        .merge(analysis::router())
        .merge(analysis_api::router())
        .merge(dashboard::router())
}

/// The service that a path belongs to, if one.
fn service(path: &str) -> Option<Service> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let notification = path.strip_prefix("/api/notifications/");
    if ["/api/transactions/summary", "/api/notifications"].contains(&path)
        || notification.is_some_and(|id| !id.is_empty() && !id.contains('/'))
    {
        return Some(Service::Summaries);
    }
    if is_monitoring(path) {
        return Some(Service::Monitoring);
    }
    let user = ["/summary/", "/analytics/risk-profile/", "/analytics/spend-trend/", "/dashboard/"]
        .iter()
        .find_map(|route| path.strip_prefix(route));
    if path == "/upload" || user.is_some_and(|user| !user.contains('/')) {
        return Some(Service::Analysis);
    }
    if is_trading(path) {
        return Some(Service::Trading);
    }
    let path = path.strip_prefix("/api").unwrap_or(path);
    match path {
        "/token" | "/token/refresh" | "/token/verify" | "/token/logout" => Some(Service::Tokens),
        _ => {
            let client = path.strip_prefix("/transactions/")?;
            (!client.contains('/')).then_some(Service::Transactions)
        }
    }
}

fn is_monitoring(path: &str) -> bool {
    let row = path.strip_prefix("/api/get-transaction/");
    let others = [
        "/api/add-transaction",
        "/api/transactions",
        "/api/transactions/average",
        "/api/get-transactions",
        DELETION,
        "/ws/admin/transactions",
    ];
    others.contains(&path) || row.is_some_and(|id| !id.is_empty() && !id.contains('/'))
}

/// The one route of B that nobody may call without credentials.
const DELETION: &str = "/api/delete-transactions";

fn is_trading(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    match (parts.next(), parts.clone().count()) {
        (Some("users" | "stocks"), 0 | 1) => true,
        (Some("transactions"), 0 | 3) => parts.all(|part| !part.is_empty()),
        _ => false,
    }
}

/// Whether the service asked for no credentials here. A shares `/transactions/{id}` with D and `/api/transactions/{id}`
/// with B, and did ask: its handler refuses what is A's to who sends none.
pub fn was_open(path: &str) -> bool {
    match service(path) {
        Some(Service::Monitoring) => !path.starts_with(DELETION),
        Some(Service::Analysis | Service::Summaries | Service::Trading | Service::Transactions) => true,
        Some(Service::Tokens) | None => false,
    }
}

/// Whether a path is of the one page that people open in a browser.
pub fn is_dashboard(path: &str) -> bool {
    path.starts_with("/dashboard/")
}

/// Whoever calls without credentials, where the operator allows it. No user's name holds a colon.
pub fn anonymous() -> Principal {
    Principal { name: "compat:anonymous".to_owned(), role: Role::Integration, user_id: None }
}

/// Whether a request carries credentials in its headers.
pub fn sends_credentials(headers: &HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION) || headers.contains_key("x-api-key")
}

/// What the service whose route this is would have written of an error; `None` on Millrace's own routes.
pub fn error_body(path: &str, problem: &Problem, sent_credentials: bool) -> Option<Value> {
    Some(match service(path)? {
        Service::Tokens => clients_etl::token_error(problem),
        Service::Transactions => clients_etl::list_error(problem, sent_credentials),
        Service::Monitoring => live_monitoring::error(problem),
        Service::Summaries => summaries::error(problem),
        Service::Trading => stock_trading::error(problem),
        Service::Analysis => analysis::error(problem),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_to_their_services() {
        for path in ["/token/", "/token", "/api/token/", "/api/token/refresh", "/token/logout/"] {
            assert_eq!(service(path), Some(Service::Tokens), "{path}");
        }
        for path in ["/transactions/c1", "/transactions/c1/", "/api/transactions/c1/"] {
            assert_eq!(service(path), Some(Service::Transactions), "{path}");
        }
        for path in [
            "/upload",
            "/summary/1",
            "/summary/1/",
            "/analytics/spend-trend/1",
            "/analytics/risk-profile/x/",
            "/dashboard/1",
        ] {
            assert_eq!(service(path), Some(Service::Analysis), "{path}");
        }
        for path in [
            "/api/transactions/summary",
            "/api/transactions/summary/",
            "/api/notifications",
            "/api/notifications/",
            "/api/notifications/x",
            "/api/notifications/x/",
        ] {
            assert_eq!(service(path), Some(Service::Summaries), "{path}");
            assert!(was_open(path), "{path}");
        }
        for path in [
            "/users",
            "/users/",
            "/users/ann/",
            "/stocks/",
            "/stocks/AAPL",
            "/transactions",
            "/transactions/",
            "/transactions/u/2026-01-01/2026-01-31/",
        ] {
            assert_eq!(service(path), Some(Service::Trading), "{path}");
            assert!(was_open(path), "{path}");
        }
        for path in [
            "/api/add-transaction/",
            "/api/transactions",
            "/api/transactions/",
            "/api/transactions/average/",
            "/api/get-transactions",
            "/api/get-transaction/TRX1",
            "/ws/admin/transactions/",
        ] {
            assert_eq!(service(path), Some(Service::Monitoring), "{path}");
            assert!(was_open(path), "{path}");
        }
        for path in ["/api/delete-transactions/", "/api/delete-transactions"] {
            assert_eq!(service(path), Some(Service::Monitoring), "{path}");
            assert!(!was_open(path), "{path}");
        }
        assert!(was_open("/transactions/c1/") && was_open("/api/transactions/c1/"));
        assert!(!was_open("/token/") && !was_open("/api/v1/trades"));
        // Without /api it is service A's: the client of that id.
        assert_eq!(service("/transactions/summary"), Some(Service::Transactions));
        for path in [
            "/summary",
            "/analytics/other/1",
            "/summary/1/2",
            "/api/v1/token",
            "/api/v1/transactions/x",
            "/api/upload",
            "/",
            "/transactions/a/b",
            "/transactions/a/b/c/d",
            "/api/transactions/a/b/c",
            "/api/users/ann",
            "/api/get-transaction/",
            "/api/get-transaction/a/b",
            "/add-transaction/",
            "/api/notifications/x/y",
            "/api/v1/notifications",
            "/users/a/b",
        ] {
            assert_eq!(service(path), None, "{path}");
        }
    }
}
