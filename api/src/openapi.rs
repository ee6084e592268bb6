//! The OpenAPI document and its Swagger UI, which is compiled in and works offline.

use crate::{access, app::AppState};
use axum::{
    Router,
    body::Bytes,
    http::{Method, header},
    routing::get,
};
use serde_json::json;
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

/// What is the same for every operation: by the access table, who may reach it; for every error
/// without a body of its own, the problem.
pub fn complete(document: &utoipa::openapi::OpenApi) -> serde_json::Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    let Some(paths) = document["paths"].as_object_mut() else {
        return document;
    };
    for (path, operations) in paths {
        let Some(operations) = operations.as_object_mut() else {
            continue;
        };
        for (method, operation) in operations {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap_or_default();
            let public = access::rule(&method, path).is_none_or(access::Rule::is_public);
            complete_operation(operation, public);
        }
    }
    document
}

fn complete_operation(operation: &mut serde_json::Value, public: bool) {
    let mut errors = vec![("default", "Any other problem")];
    if public {
        operation["security"] = json!([]);
    } else {
        errors.push(("401", "No valid access token or API key"));
        errors.push(("403", "The role may not do this"));
    }
    if operation.get("parameters").is_some() {
        errors.push(("400", "A parameter is unknown or cannot be read"));
    }
    for (status, description) in errors {
        if operation["responses"].get(status).is_none() {
            operation["responses"][status] = json!({ "description": description });
        }
    }
    // The routes of the replaced services have errors in their forms.
    let compat = operation["tags"][0] == "compat";
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for (status, response) in responses {
        let error = status.starts_with(['4', '5']) || status == "default";
        if error && !compat && response.get("content").is_none() {
            response["content"] = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
        }
    }
}

/// `/openapi.json` and `/docs`.
pub fn router(document: &utoipa::openapi::OpenApi) -> Router<AppState> {
    let text = Bytes::from(complete(document).to_string());
    let serve = move || {
        let text = text.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], text) }
    };
    Router::new()
        .route("/openapi.json", get(serve))
        .merge(SwaggerUi::new("/docs").config(Config::from("/openapi.json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_says_who_may_and_how_it_fails() {
        let (_, document) = crate::routes::router().split_for_parts();
        let document = complete(&document);
        assert_eq!(document["openapi"].as_str().map(|version| &version[..4]), Some("3.1."));
        for (path, operations) in document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let name = format!("{method} {path}");
                assert!(operation["summary"].is_string(), "{name} has no summary");
                let compat = operation["tags"][0] == "compat";
                let problem = &operation["responses"]["default"]["content"]["application/problem+json"];
                // The routes of the replaced services have errors of their own.
                assert!(compat || problem.is_object(), "{name} has no problem");
                let public = operation["security"].as_array().is_some_and(Vec::is_empty);
                // These see for themselves who asks.
                let sees = path.contains("/token") || path.starts_with("/ws/");
                assert_eq!(public, operation["responses"].get("401").is_none() || sees, "{name}");
            }
        }
    }

    #[test]
    fn every_reference_of_the_document_leads_somewhere() {
        let (_, document) = crate::routes::router().split_for_parts();
        let document = complete(&document);
        let text = document.to_string();
        for part in text.split("\"$ref\":\"#").skip(1) {
            let pointer = part.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
        }
    }
}
