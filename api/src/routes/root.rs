//! The front door: a browser is sent to the pages, a program is greeted as the service E did that this
//! one replaces; headers tell it where things are.

use axum::{
    Json,
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};
use serde::Serialize;

/// What a program is told.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Greeting {
    /// A greeting.
    message: &'static str,
}

/// Say hello. `Link` leads to the API's document.
#[utoipa::path(get, path = "/", tag = "service", security(()), responses(
    (status = 200, description = "A greeting", body = Greeting),
    (status = 303, description = "A browser is sent to /ui"),
))]
pub async fn greet(headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("text/html") {
        return Redirect::to("/ui").into_response();
    }
    let links =
        "</openapi.json>; rel=\"service-desc\", </docs>; rel=\"service-doc\", </ui>; rel=\"alternate\"";
    ([(header::LINK, links)], Json(Greeting { message: "Hello from the automated cloud!" })).into_response()
}
