//! Who is asking. One middleware ([`guard`]) looks the request up in the access table, proves the
//! caller by access token, API key or session cookie, and puts a [`Principal`] into the request.
//!
//! A session cookie travels with whatever another site makes a browser send, so with it an unsafe
//! request counts only from our own pages: the JSON routes want the session's CSRF token in the header
//! `X-CSRF-Token`, the pages want it in the form ([`verify_csrf`]).

use crate::{
    access::{self, Rule},
    app::AppState,
    compat,
    error::{ApiError, ApiResult},
    proven::SentAs,
};
use axum::{
    extract::{ConnectInfo, FromRequestParts, MatchedPath, OptionalFromRequestParts, Request, State},
    http::{HeaderMap, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use chrono::{DateTime, Utc};
use shared::{
    auth::{self, Role, service::API_KEY_PREFIX},
    ids::UserId,
};
use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
};
use subtle::ConstantTimeEq;

/// Name of the session cookie.
pub const SESSION_COOKIE: &str = "millrace_session";
/// Where a browser logs in.
pub const LOGIN_PATH: &str = "/ui/login";

/// Who is asking, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The username, or `key:<name>` of an API key: usernames hold no colon.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The user, unless it is an API key.
    pub user_id: Option<UserId>,
}

/// A page's visitor, who has logged in. As an extractor it sends everybody else to the login page;
/// `Option<PageSession>` lets them pass as `None`.
#[derive(Debug, Clone)]
pub struct PageSession {
    /// Who.
    pub principal: Principal,
    /// What each form must carry in `csrf_token`.
    pub csrf_token: String,
}

/// Where the request came from, if the server knows it: the peer, or whom a trusted proxy names.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddress(pub Option<IpAddr>);

/// Admits a request or answers it: unknown paths pass to the 404 fallback, a method that the path does
/// not have is 405, OPTIONS lists the methods, and everybody else has to be whom the table asks for.
pub async fn guard(State(state): State<AppState>, request: Request, next: Next) -> Response {
    match admit(&state, request).await {
        Ok(request) => next.run(request).await,
        Err(response) => *response,
    }
}

async fn admit(state: &AppState, mut request: Request) -> Result<Request, Box<Response>> {
    let Some(path) = request.extensions().get::<MatchedPath>().cloned() else {
        return Ok(request);
    };
    let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    if method == Method::OPTIONS {
        let allow = [(header::ALLOW, access::allowed_methods(path.as_str()))];
        return Err(Box::new((StatusCode::NO_CONTENT, allow).into_response()));
    }
    let Some(rule) = access::rule(&method, path.as_str()) else {
        return Err(Box::new(access::method_not_allowed(path.as_str()).into_response()));
    };
    let unsafe_method = method != Method::GET;
    if rule.is_public() {
        if unsafe_method && is_page(request.uri().path()) {
            refuse_cross_site(request.headers()).map_err(boxed)?;
        }
        return Ok(request);
    }
    let (mut parts, body) = request.into_parts();
    match authenticate(state, &parts.headers).await.map_err(boxed)? {
        Proof::Nothing if is_page(parts.uri.path()) => {
            return Err(Box::new(to_login(&parts).into_response()));
        }
        Proof::Nothing if state.config.compat.anonymous && compat::was_open(parts.uri.path()) => {
            if unsafe_method {
                refuse_cross_site(&parts.headers).map_err(boxed)?;
            }
            let principal = compat::anonymous();
            check_role(rule, &principal).map_err(boxed)?;
            parts.extensions.insert(principal);
        }
        Proof::Nothing if compat::is_dashboard(parts.uri.path()) && wants_html(&parts.headers) => {
            return Err(Box::new(to_login(&parts).into_response()));
        }
        Proof::Nothing => {
            return Err(boxed(ApiError::unauthorized(
                "Send an access token (POST /api/v1/token) as `Authorization: Bearer`, or an API key as `X-API-Key`.",
            )));
        }
        Proof::Credential(principal) => {
            check_role(rule, &principal).map_err(boxed)?;
            parts.extensions.insert(principal);
        }
        Proof::Session(session) => {
            check_role(rule, &session.principal).map_err(boxed)?;
            if unsafe_method {
                refuse_cross_site(&parts.headers).map_err(boxed)?;
                if !is_page(parts.uri.path()) {
                    let sent = parts.headers.get("x-csrf-token").and_then(|value| value.to_str().ok());
                    verify_csrf(&session, sent.unwrap_or_default()).map_err(boxed)?;
                }
            }
            parts.extensions.insert(session.principal.clone());
            parts.extensions.insert(session);
        }
    }
    request = Request::from_parts(parts, body);
    Ok(request)
}

fn boxed(error: ApiError) -> Box<Response> {
    Box::new(error.into_response())
}

/// Whether a path belongs to the pages: errors are then HTML, and login is by cookie.
pub fn is_page(path: &str) -> bool {
    path == "/ui" || path.starts_with("/ui/")
}

fn check_role(rule: &Rule, principal: &Principal) -> ApiResult<()> {
    if rule.who.contains(principal.role) {
        return Ok(());
    }
    Err(ApiError::forbidden(format!(
        "The role {} may not do this; it takes {}.",
        principal.role,
        rule.who.roles().iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
    )))
}

/// What a request proves about its sender.
#[derive(Clone)]
pub enum Proof {
    /// No credential, and no cookie of a session that lives.
    Nothing,
    /// A token's or key's owner.
    Credential(Principal),
    /// Who has logged in on the pages.
    Session(PageSession),
}

/// Looks the caller up. Credentials in a header come before the cookie; a wrong one is refused, never
/// passed over.
async fn authenticate(state: &AppState, headers: &HeaderMap) -> ApiResult<Proof> {
    let jar;
    let (text, sent_as) = match credential_text(headers)? {
        Some((text, false)) => (text, SentAs::Bearer),
        Some((text, true)) => (text, SentAs::Key),
        None => {
            jar = CookieJar::from_headers(headers);
            let Some(cookie) = jar.get(SESSION_COOKIE) else { return Ok(Proof::Nothing) };
            (cookie.value(), SentAs::Cookie)
        }
    };
    let unproven = match state.proven.find(text, sent_as) {
        Ok(proof) => return Ok(proof),
        Err(unproven) => unproven,
    };
    let proof = match sent_as {
        SentAs::Cookie => match session_of(state, text).await? {
            Some(session) => Proof::Session(session),
            None => return Ok(Proof::Nothing),
        },
        SentAs::Bearer | SentAs::Key => {
            Proof::Credential(by_credential(state, text, sent_as == SentAs::Key).await?)
        }
    };
    state.proven.keep(unproven, &proof);
    Ok(proof)
}

/// The credential that the headers carry, and whether it came as an API key.
fn credential_text(headers: &HeaderMap) -> ApiResult<Option<(&str, bool)>> {
    let key = headers.get("x-api-key");
    let Some(value) = key.or_else(|| headers.get(header::AUTHORIZATION)) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let credential = if key.is_some() { Some(text) } else { bearer(text) };
    let Some(credential) = credential.map(str::trim).filter(|text| !text.is_empty()) else {
        return Err(ApiError::unauthorized("The header Authorization has the form `Bearer <token>`."));
    };
    Ok(Some((credential, key.is_some())))
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, rest) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(rest)
}

async fn by_credential(state: &AppState, credential: &str, key_only: bool) -> ApiResult<Principal> {
    if key_only || credential.starts_with(API_KEY_PREFIX) {
        let mut conn = state.env.pool.get().await?;
        let key = auth::find_api_key(&mut conn, credential)
            .await?
            .ok_or_else(|| ApiError::unauthorized("The API key is unknown, has expired or was revoked."))?;
        return Ok(Principal { name: format!("key:{}", key.name), role: key.role, user_id: None });
    }
    let user_id = auth::read_token(&state.env.settings.signing_key, credential, state.env.clock.now())?;
    let mut conn = state.env.pool.get().await?;
    let user = auth::queries::find_active_user(&mut conn, user_id)
        .await?
        .ok_or_else(|| ApiError::unauthorized("The token's user is disabled or no longer exists."))?;
    Ok(Principal { name: user.username, role: user.role, user_id: Some(user.id) })
}

async fn find_page_session(state: &AppState, headers: &HeaderMap) -> ApiResult<Option<PageSession>> {
    let jar = CookieJar::from_headers(headers);
    let Some(cookie) = jar.get(SESSION_COOKIE) else {
        return Ok(None);
    };
    session_of(state, cookie.value()).await
}

async fn session_of(state: &AppState, cookie: &str) -> ApiResult<Option<PageSession>> {
    let mut conn = state.env.pool.get().await?;
    let found = auth::find_session(&mut conn, cookie).await?;
    Ok(found.map(|session| PageSession {
        principal: Principal {
            name: session.user.username,
            role: session.user.role,
            user_id: Some(session.user.id),
        },
        csrf_token: session.csrf_token,
    }))
}

/// What somebody proved himself with who stays connected, so that it can be proven again.
#[derive(Clone)]
pub enum Credential {
    /// An access token or API key.
    Text {
        /// As it was sent.
        text: String,
        /// It came as an API key.
        key: bool,
    },
    /// The session of a page.
    Session(String),
    /// None: the operator lets clients of the replaced services in without.
    Anonymous,
}

impl Credential {
    /// What the headers of a request carry, if anything: a credential before the cookie. With a cookie alone the
    /// request must not come from another site.
    pub fn of(headers: &HeaderMap) -> ApiResult<Option<Self>> {
        if let Some((text, key)) = credential_text(headers)? {
            return Ok(Some(Self::Text { text: text.to_owned(), key }));
        }
        let jar = CookieJar::from_headers(headers);
        Ok(jar.get(SESSION_COOKIE).map(|cookie| Self::Session(cookie.value().to_owned())))
    }

    /// Who it is of, if it is still good; asks the database.
    pub async fn prove(&self, state: &AppState) -> ApiResult<Principal> {
        match self {
            Self::Text { text, key } => by_credential(state, text, *key).await,
            Self::Session(cookie) => {
                let session = session_of(state, cookie).await?;
                let session = session.ok_or_else(|| ApiError::unauthorized("The session has ended."))?;
                Ok(session.principal)
            }
            Self::Anonymous => Ok(compat::anonymous()),
        }
    }

    /// When it stops being good by itself, if that is known.
    pub fn expiry(&self, state: &AppState) -> Option<DateTime<Utc>> {
        match self {
            Self::Text { text, key: false } => auth::token::expiry(&state.env.settings.signing_key, text),
            _ => None,
        }
    }
}

/// Refuses a form or header that does not carry the session's CSRF token; compares in constant time.
pub fn verify_csrf(session: &PageSession, sent: &str) -> ApiResult<()> {
    if bool::from(session.csrf_token.as_bytes().ct_eq(sent.as_bytes())) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "csrf",
        "Not sent from our pages",
        "The request does not carry this session's CSRF token. Reload the page and try again; over the \
         API, send the token in X-CSRF-Token or use an access token instead of the cookie.",
    ))
}

/// Refuses what another site made the browser send. Browsers say where a request comes from;
/// programs, which say nothing, have no cookie to abuse.
pub fn refuse_cross_site(headers: &HeaderMap) -> ApiResult<()> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let foreign = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            origin.split_once("://").map(|(_, authority)| authority) != text(header::HOST.as_str())
        }
        (None, None) => false,
    };
    if foreign {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "cross-site",
            "Not sent from our pages",
            "The request comes from another site.",
        ));
    }
    Ok(())
}

/// Whether a browser asks.
fn wants_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| accepted.contains("text/html"))
}

fn to_login(parts: &Parts) -> Redirect {
    let target = parts.uri.path_and_query().map_or("/ui", |target| target.as_str());
    // A form cannot be sent again after the login; its page can.
    let target = if parts.method == Method::GET { target } else { "/ui" };
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", target).finish();
    Redirect::to(&format!("{LOGIN_PATH}?{query}"))
}

/// Where to go after the login: a path of ours, whatever `next` says.
pub fn safe_next(next: Option<&str>) -> &str {
    let path = next.and_then(|next| next.split(['?', '#']).next()).unwrap_or_default();
    match next {
        Some(next) if is_page(path) || compat::is_dashboard(path) => next,
        _ => "/ui",
    }
}

/// The cookie of a fresh session. It has no age: it goes when the browser does, and the server ends
/// the session after 12 hours.
pub fn session_cookie(state: &AppState, token: String) -> Cookie<'static> {
    Cookie::build((SESSION_COOKIE, token))
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(state.config.secure_cookies)
        .build()
}

/// What to give to [`CookieJar::remove`] at logout.
pub fn removed_session_cookie() -> Cookie<'static> {
    Cookie::build(SESSION_COOKIE).path("/").build()
}

impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        // Absent only on a route that the access table makes public.
        parts.extensions.get().cloned().ok_or_else(|| ApiError::unauthorized("Log in first."))
    }
}

impl FromRequestParts<AppState> for PageSession {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let session = <Self as OptionalFromRequestParts<AppState>>::from_request_parts(parts, state).await;
        session.map_err(IntoResponse::into_response)?.ok_or_else(|| to_login(parts).into_response())
    }
}

impl OptionalFromRequestParts<AppState> for PageSession {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Option<Self>, ApiError> {
        match parts.extensions.get::<Self>() {
            Some(session) => Ok(Some(session.clone())),
            None => find_page_session(state, &parts.headers).await,
        }
    }
}

impl FromRequestParts<AppState> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let lines = parts.headers.get_all("x-forwarded-for").iter();
        let told: Vec<&str> = lines.map(|line| line.to_str().unwrap_or_default()).collect();
        Ok(Self(peer.map(|peer| state.config.trusted_proxies.origin(peer, &told))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_login_one_stays_on_our_pages() {
        assert_eq!(safe_next(Some("/ui/runs?state=failed")), "/ui/runs?state=failed");
        assert_eq!(safe_next(Some("/dashboard/7")), "/dashboard/7");
        for foreign in ["https://example.com", "//example.com", "/uix", "/docs", "ui", ""] {
            assert_eq!(safe_next(Some(foreign)), "/ui");
        }
        assert_eq!(safe_next(None), "/ui");
    }

    #[test]
    fn another_sites_forms_are_refused() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
                .collect::<HeaderMap>()
        };
        assert!(refuse_cross_site(&headers(&[])).is_ok());
        assert!(refuse_cross_site(&headers(&[("sec-fetch-site", "same-origin")])).is_ok());
        assert!(refuse_cross_site(&headers(&[("sec-fetch-site", "cross-site")])).is_err());
        assert!(refuse_cross_site(&headers(&[("host", "a:1"), ("origin", "http://a:1")])).is_ok());
        assert!(refuse_cross_site(&headers(&[("host", "a:1"), ("origin", "http://b")])).is_err());
        assert!(refuse_cross_site(&headers(&[("host", "a:1"), ("origin", "null")])).is_err());
    }
}
