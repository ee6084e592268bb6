//! Logging in and out, and the theme.

use super::{
    address::Address,
    shell::{self, Shell, THEME_COOKIE},
};
use crate::{
    app::AppState,
    auth::{
        ClientAddress, LOGIN_PATH, PageSession, SESSION_COOKIE, removed_session_cookie, safe_next,
        session_cookie, verify_csrf,
    },
    error::{ApiError, ApiResult},
};
use askama::Template;
use axum::{
    Form,
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use serde::Deserialize;
use shared::auth::{self, AuthError};

#[derive(Template)]
#[template(path = "pages/login/login.html")]
struct LoginPage {
    shell: Shell,
    username: String,
    next: String,
    complaint: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    next: Option<String>,
}

/// `GET /ui/login`; who is logged in already is sent on.
pub(super) async fn form(
    session: Option<PageSession>,
    State(state): State<AppState>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let next = safe_next(wanted.next.as_deref());
    if session.is_some() {
        return Ok(Redirect::to(next).into_response());
    }
    let shell = Shell::outside(LOGIN_PATH, shell::theme(&headers), state.env.clock.now());
    shell::page(&LoginPage { shell, username: String::new(), next: next.to_owned(), complaint: None })
}

#[derive(Deserialize)]
pub(super) struct Credentials {
    username: String,
    password: String,
    next: Option<String>,
}

/// `POST /ui/login`.
pub(super) async fn log_in(
    State(state): State<AppState>,
    ClientAddress(address): ClientAddress,
    jar: CookieJar,
    headers: HeaderMap,
    Form(sent): Form<Credentials>,
) -> ApiResult<Response> {
    let next = safe_next(sent.next.as_deref());
    let mut conn = state.env.pool.get().await?;
    let (status, complaint, retry_after) =
        match auth::login(&mut conn, &sent.username, &sent.password, address).await {
            Ok(user) => {
                // A session that this browser had before ends: its cookie is about to be replaced.
                if let Some(old) = jar.get(SESSION_COOKIE) {
                    let ended = auth::end_session(&mut conn, old.value()).await;
                    state.proven.forget();
                    ended?;
                }
                let (token, _csrf_token) = auth::start_session(&mut conn, user.id).await?;
                return Ok((jar.add(session_cookie(&state, token)), Redirect::to(next)).into_response());
            }
            Err(AuthError::WrongCredentials) => {
                (StatusCode::UNAUTHORIZED, "The username or the password is wrong.".to_owned(), None)
            }
            Err(AuthError::Throttled { retry_after_seconds: seconds }) => {
                let wait =
                    super::fmt::duration(chrono::TimeDelta::seconds(i64::try_from(seconds).unwrap_or(900)));
                let text =
                    format!("Too many failed logins. Try again in {wait}; a right password has to wait too.");
                (StatusCode::TOO_MANY_REQUESTS, text, Some(seconds))
            }
            Err(other) => return Err(other.into()),
        };
    let shell = Shell::outside(LOGIN_PATH, shell::theme(&headers), state.env.clock.now());
    let username = sent.username.chars().take(64).collect();
    let login = LoginPage { shell, username, next: next.to_owned(), complaint: Some(complaint) };
    let body = login.render().map_err(ApiError::internal)?;
    let mut response = (status, [(header::CACHE_CONTROL, "no-store")], Html(body)).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(response)
}

#[derive(Deserialize)]
pub(super) struct Parting {
    csrf_token: String,
}

/// `POST /ui/logout`.
pub(super) async fn log_out(
    session: PageSession,
    State(state): State<AppState>,
    jar: CookieJar,
    Form(sent): Form<Parting>,
) -> ApiResult<Response> {
    verify_csrf(&session, &sent.csrf_token)?;
    if let Some(cookie) = jar.get(SESSION_COOKIE) {
        let ended = auth::end_session(&mut *state.env.pool.get().await?, cookie.value()).await;
        state.proven.forget();
        ended?;
    }
    let login = Address::new(LOGIN_PATH).to_string();
    Ok((jar.remove(removed_session_cookie()), Redirect::to(&login)).into_response())
}

#[derive(Deserialize)]
pub(super) struct Choice {
    csrf_token: String,
    theme: String,
    next: Option<String>,
}

/// `POST /ui/theme`: `light`, `dark`, or as the system has it.
pub(super) async fn choose_theme(
    session: PageSession,
    State(state): State<AppState>,
    jar: CookieJar,
    Form(choice): Form<Choice>,
) -> ApiResult<Response> {
    verify_csrf(&session, &choice.csrf_token)?;
    let jar = match choice.theme.as_str() {
        theme @ ("light" | "dark") => jar.add(
            Cookie::build((THEME_COOKIE, theme.to_owned()))
                .path("/")
                .http_only(true)
                .same_site(SameSite::Lax)
                .secure(state.config.secure_cookies)
                .permanent()
                .build(),
        ),
        _ => jar.remove(Cookie::build(THEME_COOKIE).path("/").build()),
    };
    Ok((jar, Redirect::to(safe_next(choice.next.as_deref()))).into_response())
}
