//! What happens to every request and response: request id, span, security headers, limits, and the
//! body of an error.

use crate::{
    app::AppState,
    auth::is_page,
    compat,
    error::{ApiError, Problem},
    linger::lingering,
    pages,
};
use axum::{
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use shared::metrics;
use std::{any::Any, sync::Arc, time::Duration};
use tracing::Instrument;

/// Names a request, in its log lines and its response.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Largest body, except of an upload and of an action on many runs.
const MAX_BODY_BYTES: usize = 64 << 10;
/// Largest body of an action on many runs: 10,000 ids take 390,000 bytes.
const MAX_BULK_BYTES: usize = 512 << 10;
/// Largest body of many transactions: 1,000 of 2 KiB.
const MAX_BATCH_BYTES: usize = 2 << 20;
/// What an upload's body may hold besides the file.
const FORM_BYTES: u64 = 1 << 20;
/// After this time a handler is given up.
const TIME_LIMIT: Duration = Duration::from_secs(60);

const CSP: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                   object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Swagger UI sets styles inline.
const DOCS_CSP: &str = "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                        img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/// The id of the request, for handlers that want to pass it on.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

impl RequestId {
    /// The caller's own, if it is fit for a log, else a fresh one.
    fn of(headers: &HeaderMap) -> Self {
        let fit = |text: &&str| {
            (1..=64).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(fit);
        Self(given.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned))
    }
}

/// The outermost layer: names the request, spans it, writes the bodies of errors, sets the headers
/// that every response has, and logs one line.
pub async fn finish(request: Request, next: Next) -> Response {
    let mut request = lingering(request);
    let id = RequestId::of(request.headers());
    let path = request.uri().path().to_owned();
    let span = tracing::info_span!("http.request", request.id = %id.0, method = %request.method(), path);
    request.extensions_mut().insert(id.clone());
    let sent_credentials = compat::sends_credentials(request.headers());
    let (method, route) = (known_method(request.method()), matched(&request).to_owned());
    async move {
        let started = tokio::time::Instant::now();
        let mut response = write_problem(next.run(request).await, &path, &id, sent_credentials);
        set_headers(response.headers_mut(), &path, &id);
        let (status, took) = (response.status().as_u16(), started.elapsed());
        metrics::request_answered(method, if route.is_empty() { "none" } else { &route }, status, took);
        let duration_ms = took.as_millis();
        tracing::info!(status, duration_ms, "answered {status} in {duration_ms} ms");
        response
    }
    .instrument(span)
    .await
}

/// The method's name for metrics: clients may invent methods without end.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// Gives an error its body: HTML under `/ui`, what the replaced service wrote on its routes, problem+json
/// elsewhere. Errors that axum made itself get
/// a problem by their status.
fn write_problem(mut response: Response, path: &str, id: &RequestId, sent_credentials: bool) -> Response {
    let mut problem = match response.extensions_mut().remove::<Arc<Problem>>() {
        Some(problem) => Arc::unwrap_or_clone(problem),
        None if is_bare_error(&response) => bare_problem(response.status()),
        None => return response,
    };
    problem.instance = Some(path.to_owned());
    problem.request_id = Some(id.0.clone());
    let mut written = if is_page(path) {
        pages::error_page(&problem)
    } else if let Some(body) = compat::error_body(path, &problem, sent_credentials) {
        axum::Json(body).into_response()
    } else {
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        ([(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    };
    *written.status_mut() = problem.status;
    for (name, value) in response.headers() {
        if name != header::CONTENT_TYPE && name != header::CONTENT_LENGTH {
            written.headers_mut().append(name, value.clone());
        }
    }
    written
}

fn is_bare_error(response: &Response) -> bool {
    let status = response.status();
    let plain = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    (status.is_client_error() || status.is_server_error()) && plain
}

fn bare_problem(status: StatusCode) -> Problem {
    let title = status.canonical_reason().unwrap_or("Error");
    let word = title.to_ascii_lowercase().replace(' ', "-");
    ApiError::new(status, &word, title, format!("The request was answered with {status}.")).problem().clone()
}

fn set_headers(headers: &mut HeaderMap, path: &str, id: &RequestId) {
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, value);
    }
    let docs = path == "/docs" || path.starts_with("/docs/");
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, if docs { DOCS_CSP } else { CSP }),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if path.starts_with("/api/") || is_page(path) {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
}

/// Limits the body: [`DefaultBodyLimit`] counts while it streams; what announces itself as too large is
/// refused before it is read.
pub async fn body_limit(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let limit = if is_upload(&request) {
        usize::try_from(state.config.max_upload_bytes.saturating_add(FORM_BYTES)).unwrap_or(usize::MAX)
    } else if matches!(matched(&request), "/api/v1/runs:retry" | "/api/v1/runs:cancel") {
        MAX_BULK_BYTES
    } else if matched(&request) == "/api/v1/transactions:batch" {
        MAX_BATCH_BYTES
    } else {
        MAX_BODY_BYTES
    };
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit as u64) {
        return ApiError::too_large(if is_upload(&request) {
            file_too_large(state.config.max_upload_bytes)
        } else {
            format!("The body has more than the {limit} bytes that are accepted here.")
        })
        .into_response();
    }
    DefaultBodyLimit::max(limit).apply(&mut request);
    next.run(request).await
}

/// What is said of a file with more than `limit` bytes.
pub fn file_too_large(limit: u64) -> String {
    format!("The file is larger than the {limit} bytes that this server accepts (MILLRACE_MAX_UPLOAD_BYTES).")
}

fn matched(request: &Request) -> &str {
    request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str)
}

fn is_upload(request: &Request) -> bool {
    request.method() == Method::POST
        && matches!(
            matched(request),
            "/api/v1/uploads" | "/ui/uploads" | "/api/v1/previews" | "/ui/previews" | "/upload" | "/upload/"
        )
}

/// Gives a handler up after a minute, except one that receives a file or streams events.
pub async fn time_limit(request: Request, next: Next) -> Response {
    if is_upload(&request) || matched(&request) == "/ui/live" {
        return next.run(request).await;
    }
    match tokio::time::timeout(TIME_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::unavailable("answer", "the handler took more than a minute").into_response(),
    }
}

/// What a panic in a handler becomes.
pub fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of unknown cause");
    ApiError::internal(format!("panic: {text}")).into_response()
}
