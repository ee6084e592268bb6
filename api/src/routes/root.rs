//! The front door: a browser is sent to the pages, a program is told where things are.

use axum::{
    Json,
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Serialize;

/// Where things are.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Greeting {
    /// `millrace`.
    name: &'static str,
    /// The running version.
    version: &'static str,
    /// The API's document.
    openapi: &'static str,
    /// The document for people.
    docs: &'static str,
    /// The pages.
    ui: &'static str,
}

/// Say what this is.
#[utoipa::path(get, path = "/", tag = "service", security(()), responses(
    (status = 200, description = "Where things are", body = Greeting),
    (status = 303, description = "A browser is sent to /ui"),
))]
pub async fn greet(headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("text/html") {
        return Redirect::to("/ui").into_response();
    }
    Json(Greeting {
        name: "millrace",
        version: env!("CARGO_PKG_VERSION"),
        openapi: "/openapi.json",
        docs: "/docs",
        ui: "/ui",
    })
    .into_response()
}
