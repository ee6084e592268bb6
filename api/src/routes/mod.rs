//! The JSON routes, one file a domain. Each handler's annotation makes its line in the OpenAPI document;
//! each also needs its line in the access table (`router.rs`).

mod root;

use crate::{app::AppState, openapi};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

/// All JSON routes, with their document.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::Document::openapi()).routes(routes!(root::greet))
}
