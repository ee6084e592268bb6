//! How the routers are put together. Who may reach a route is in the access table ([`crate::access`]).

use crate::{app::AppState, auth, error::ApiError, middleware, openapi, pages, routes};
use axum::{
    Router,
    extract::OriginalUri,
    middleware::{from_fn, from_fn_with_state},
};
use tower_http::catch_panic::CatchPanicLayer;

async fn not_found(OriginalUri(uri): OriginalUri) -> ApiError {
    ApiError::not_found(format!("There is nothing at {}. /openapi.json lists what there is.", uri.path()))
}

/// The whole application. Layers run from the last to the first.
pub fn build(state: AppState) -> Router {
    let (json, document) = routes::router().split_for_parts();
    Router::new()
        .merge(json)
        .merge(openapi::router(&document))
        .merge(pages::router())
        .fallback(not_found)
        .layer(from_fn(middleware::time_limit))
        .layer(from_fn_with_state(state.clone(), middleware::body_limit))
        .layer(from_fn_with_state(state.clone(), auth::guard))
        .layer(CatchPanicLayer::custom(middleware::panicked))
        .layer(from_fn(middleware::finish))
        .with_state(state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{ACCESS, Who, allowed_methods};
    use axum::{
        body::Body,
        http::{HeaderMap, Request, StatusCode, header},
    };
    use shared::{
        auth::Role,
        cache::Cache,
        clock::SystemClock,
        config::{
            ApiConfig, CompatConfig, DatabaseConfig, EtlConfig, FilesConfig, NotificationsConfig,
            RetentionConfig, TrustedProxies,
        },
        db,
        notifications::NotificationDesk,
        runs::{Doorbells, Environment},
        settings::Settings,
        storage::Storage,
        trades::TradeDesk,
        transactions::live::LiveDesk,
    };
    use std::{collections::BTreeSet, sync::Arc, time::Duration};
    use tokio_util::sync::CancellationToken;
    use tower::Service;

    fn listed() -> BTreeSet<(String, String)> {
        ACCESS.iter().map(|rule| (rule.method.to_string(), rule.path.to_owned())).collect()
    }

    /// A state whose database nobody can reach.
    fn state(directory: &std::path::Path) -> AppState {
        let database = DatabaseConfig { url: "postgres://nobody@127.0.0.1:1/none".to_owned(), pool_size: 1 };
        let config = ApiConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            max_upload_bytes: 1000,
            secure_cookies: false,
            token_life: Duration::from_secs(60),
            calendar: None,
            allow_destructive: false,
            trusted_proxies: TrustedProxies::default(),
            drain: Duration::ZERO,
            allowed_origins: Vec::new(),
            compat: CompatConfig::default(),
        };
        let env = Environment {
            pool: db::pool(&database, "test").unwrap(),
            load_connections: db::LoadConnections::new(database.url.clone()),
            storage: Storage::directory(directory).unwrap(),
            clock: Arc::new(SystemClock),
            settings: Settings { zone: chrono_tz::UTC, currency: "USD".to_owned(), signing_key: vec![7; 48] },
            doorbells: Doorbells::new(None),
            chunk_records: 1000,
            kinds: shared::runs::registry::KINDS,
            retention: RetentionConfig { completed_days: 7, failed_days: 30 },
            files: FilesConfig::default(),
            etl: EtlConfig::from_env(directory),
            cache: Cache::new(None),
            trades: TradeDesk::default(),
            live: LiveDesk::default(),
            notifications: NotificationDesk::open(&NotificationsConfig::usual(true)).unwrap(),
        };
        AppState::new(Arc::new(env), config, None, CancellationToken::new())
    }

    /// Status, headers and JSON body (null if it is none).
    async fn ask(app: Router, request: Request<Body>) -> (StatusCode, HeaderMap, serde_json::Value) {
        let response = app.into_service().call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    fn request(method: &str, path: &str) -> Request<Body> {
        Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn every_error_is_a_problem_that_names_the_request() {
        let directory = tempfile::tempdir().unwrap();
        let state = state(directory.path());
        for (method, path, status) in [
            ("GET", "/nothing/here", 404),
            ("GET", "/api/v1/token", 405),
            ("GET", "/api/v1/runs", 401),
            ("POST", "/api/v1/uploads", 401),
            ("POST", "/api/v1/token", 415),
            ("GET", "/livez?x=1", 200),
            ("GET", "/readyz", 503),
        ] {
            let (got, headers, body) = ask(build(state.clone()), request(method, path)).await;
            assert_eq!(got.as_u16(), status, "{method} {path}");
            if status >= 400 && path != "/readyz" {
                assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json", "{method} {path}");
                assert_eq!(body["status"], status, "{method} {path}");
                assert_eq!(body["instance"], path, "{method} {path}");
                assert_eq!(headers["x-request-id"], body["request_id"].as_str().unwrap(), "{method} {path}");
            }
        }
    }

    #[tokio::test]
    async fn everything_in_the_access_table_is_mounted() {
        let directory = tempfile::tempdir().unwrap();
        let app = build(state(directory.path()));
        for rule in ACCESS.iter().filter(|rule| !rule.path.contains("{*")) {
            let path = rule.path.replace("{id}", "01a1f828-3a35-74a3-8cf5-57ada783babe");
            let path = path.replace("{name}", "default").replace("{fingerprint}", "f");
            let (status, ..) = ask(app.clone(), request(rule.method.as_str(), &path)).await;
            assert!(status != StatusCode::NOT_FOUND, "{} {} is not mounted", rule.method, rule.path);
            assert!(status != StatusCode::METHOD_NOT_ALLOWED, "{} {} is not mounted", rule.method, rule.path);
            let open = status != StatusCode::UNAUTHORIZED && status != StatusCode::SEE_OTHER;
            // `/docs` and `/` may redirect, the login needs no login.
            assert!(rule.is_public() || !open, "{} {} answers {status} to anybody", rule.method, rule.path);
        }
    }

    #[tokio::test]
    async fn a_route_that_the_table_does_not_list_cannot_be_reached() {
        let directory = tempfile::tempdir().unwrap();
        let state = state(directory.path());
        let app = Router::new()
            .route("/secret", axum::routing::get(async || "reached"))
            .layer(from_fn_with_state(state.clone(), auth::guard))
            .layer(from_fn(middleware::finish))
            .with_state(state);
        let (status, _, body) = ask(app, request("GET", "/secret")).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(body["type"], "urn:millrace:problem:method-not-allowed");
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_that_says_nothing_of_its_cause() {
        async fn panics() -> &'static str {
            panic!("secret cause")
        }
        let app = Router::new()
            .route("/panics", axum::routing::get(panics))
            .layer(CatchPanicLayer::custom(middleware::panicked))
            .layer(from_fn(middleware::finish));
        let (status, _, body) = ask(app, request("GET", "/panics")).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(body["type"], "urn:millrace:problem:internal");
        assert!(!body.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn a_browser_without_a_session_is_sent_to_the_login() {
        let directory = tempfile::tempdir().unwrap();
        let state = state(directory.path());
        let app = Router::new()
            .route("/ui/runs", axum::routing::get(async || "reached"))
            .layer(from_fn_with_state(state.clone(), auth::guard))
            .with_state(state);
        let (status, headers, _) = ask(app, request("GET", "/ui/runs?state=failed")).await;
        assert_eq!(status, StatusCode::SEE_OTHER);
        assert_eq!(headers[header::LOCATION], "/ui/login?next=%2Fui%2Fruns%3Fstate%3Dfailed");
    }

    #[test]
    fn the_access_table_names_each_route_once() {
        assert_eq!(listed().len(), ACCESS.len());
    }

    #[test]
    fn every_operation_of_the_document_is_in_the_access_table_and_the_other_way_round() {
        let (_, document) = routes::router().split_for_parts();
        let document = serde_json::to_value(&document).unwrap();
        let mut documented = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                documented.insert((method.to_uppercase(), path.clone()));
            }
        }
        let missing: Vec<_> = documented.difference(&listed()).cloned().collect();
        assert!(missing.is_empty(), "mounted, but not in the access table: {missing:?}");
        let json: BTreeSet<_> = listed().into_iter().filter(|(_, path)| path.starts_with("/api/")).collect();
        let missing: Vec<_> = json.difference(&documented).cloned().collect();
        assert!(missing.is_empty(), "in the access table, but not documented: {missing:?}");
    }

    #[test]
    fn roles_get_what_they_are_for() {
        assert!(Who::Readers.contains(Role::Viewer));
        assert!(!Who::Uploaders.contains(Role::Viewer));
        assert!(Who::Uploaders.contains(Role::Integration));
        assert!(!Who::Operators.contains(Role::Integration));
        assert_eq!(Who::Admins.roles(), [Role::Admin]);
    }

    #[test]
    fn a_path_lists_its_methods() {
        assert_eq!(allowed_methods("/api/v1/uploads"), "GET, HEAD, POST, OPTIONS");
    }
}
