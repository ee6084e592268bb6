//! The OpenAPI document and its Swagger UI, which is compiled in and works offline.

use crate::app::AppState;
use axum::{Json, Router, routing::get};
use std::sync::Arc;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_swagger_ui::{Config, SwaggerUi};

/// What the document says besides its operations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Millrace",
        description = "Files of transactions go in; durable runs load them; totals are exact at every commit.\n\n\
            Amounts are decimals as strings, times RFC 3339. Lists return `items` with the cursors `next` and \
            `previous` (also in the header `Link`); an unknown query parameter is refused. Errors are \
            `application/problem+json` (RFC 9457). A POST that creates takes an `Idempotency-Key`.",
    ),
    modifiers(&Schemes),
    security(("token" = []), ("api_key" = [])),
    components(schemas(crate::error::Problem)),
)]
pub struct Document;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Default::default);
        let mut token = Http::new(HttpAuthScheme::Bearer);
        token.bearer_format = Some("JWT".to_owned());
        token.description = Some("An access token from POST /api/v1/token, or an API key.".to_owned());
        components.add_security_scheme("token", SecurityScheme::Http(token));
        let key = ApiKey::Header(ApiKeyValue::with_description("X-API-Key", "An API key (`mr_…`)."));
        components.add_security_scheme("api_key", SecurityScheme::ApiKey(key));
    }
}

/// `/openapi.json` and `/docs`.
pub fn router(document: utoipa::openapi::OpenApi) -> Router<AppState> {
    let document = Arc::new(document);
    let serve = move || {
        let document = Arc::clone(&document);
        async move { Json(document.as_ref().clone()) }
    };
    Router::new()
        .route("/openapi.json", get(serve))
        .merge(SwaggerUi::new("/docs").config(Config::from("/openapi.json")))
}
