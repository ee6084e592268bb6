//! Routes of the services that Millrace replaces, so that their clients work by changing the base URL.
//! Thin: each handler reads what the service read, calls what Millrace's own routes call, and writes what
//! the service wrote. The folder can be read, and one day removed, as a unit; its faults are not kept (a
//! 500 of theirs is the 4xx that it should have been, lists end, nothing is dropped in silence).
//!
//! A and E name the services as the contracts do: A has clients and their transactions, E takes files.

mod analysis;
mod clients_etl;
mod fields;
mod rate;

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
    /// A's list of transactions.
    Transactions,
    /// E.
    Analysis,
}

/// All of them, with their document.
pub fn router() -> OpenApiRouter<AppState> {
    clients_etl::router().merge(analysis::router())
}

/// The service that a path belongs to, if one.
fn service(path: &str) -> Option<Service> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path == "/upload" {
        return Some(Service::Analysis);
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

/// Whether the service asked for no credentials here.
pub fn was_open(path: &str) -> bool {
    service(path) == Some(Service::Analysis)
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
        assert_eq!(service("/upload"), Some(Service::Analysis));
        for path in ["/api/v1/token", "/api/v1/transactions/x", "/api/upload", "/", "/transactions/a/b"] {
            assert_eq!(service(path), None, "{path}");
        }
    }
}
