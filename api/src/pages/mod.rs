//! Server-rendered pages under `/ui`, and the assets they need.

use crate::{app::AppState, error::Problem};
use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
};

/// The pages' routes; each also needs its line in the access table (`router.rs`).
pub fn router() -> Router<AppState> {
    Router::new()
}

/// How an error looks under `/ui`. The caller has filled in `instance` and `request_id`, and sets
/// status and headers from the problem.
pub fn error_page(problem: &Problem) -> Response {
    let text = escape(&format!("{} {}", problem.status.as_u16(), problem.title));
    let detail = escape(&problem.detail);
    let id = escape(problem.request_id.as_deref().unwrap_or_default());
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{text}</title>\
         <h1>{text}</h1><p>{detail}</p><p><small>Request {id}</small></p><p><a href=\"/ui\">Overview</a></p></html>"
    );
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], body).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
