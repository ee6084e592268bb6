//! Users and API keys, for admins.

use crate::{
    actions::repeat,
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    list::Listing,
    params::{FromParams, IdempotencyKey, Json, ListParams, ListQuery, NoQuery, PageParams, Params, PathId},
    views::{
        accounts::{ApiKeyView, NewApiKeyView, UserView},
        words,
    },
};
use axum::{
    Json as Answer,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Datelike, Utc};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use serde::{Deserialize, Serialize};
use shared::{
    audit,
    auth::{self, ApiKey, Role, User, queries},
    ids::{ApiKeyId, UserId},
    pagination::{Cursor, InvalidCursor},
};
use utoipa::{IntoParams, ToSchema};

/// A list without filters.
#[derive(IntoParams)]
pub struct AllParams {}

impl FromParams for AllParams {
    fn from_params(_params: &Params) -> ApiResult<Self> {
        Ok(Self {})
    }
}

impl ListParams for AllParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        cursor.single::<uuid::Uuid>().map(drop)
    }
}

/// A user that an admin wants.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserRequest {
    /// 3 to 64 letters, digits or `.`, `_`, `@`, `-`; unique without regard to case.
    username: String,
    /// E-mail.
    email: Option<String>,
    /// At least ten characters.
    #[serde(skip_serializing)]
    #[schema(format = Password, min_length = 10)]
    password: String,
    /// What it may do.
    #[schema(schema_with = words::role)]
    role: Role,
}

/// An API key that an admin wants.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyRequest {
    /// What it is for, 1 to 64 characters; unique among working keys.
    name: String,
    /// What it may do.
    #[schema(schema_with = words::role)]
    role: Role,
    /// When it stops working; never if absent.
    expires_at: Option<DateTime<Utc>>,
}

async fn settle(
    conn: &mut AsyncPgConnection,
    principal: &Principal,
    key: Option<&str>,
    action: &str,
    id: &str,
    body: &impl Serialize,
) -> ApiResult<()> {
    let details = serde_json::to_value(body).map_err(ApiError::internal)?;
    audit::record(conn, &principal.name, action, id, &details).await?;
    repeat::point(conn, &principal.name, key, id).await
}

fn created(is_new: bool, location: String, body: impl Serialize) -> Response {
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    (status, [(header::LOCATION, location)], Answer(body)).into_response()
}

/// List users, newest first.
#[utoipa::path(get, path = "/api/v1/users", tag = "accounts", params(PageParams), responses(
    (status = 200, description = "A page of users", body = Listing<UserView>),
))]
pub async fn list_users(State(state): State<AppState>, query: ListQuery<AllParams>) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let page = queries::list_users(&mut conn, &query.page).await?;
    Ok(Listing::of(page, UserView::from).respond(&query.uri))
}

/// Show a user.
#[utoipa::path(get, path = "/api/v1/users/{id}", tag = "accounts",
    params(("id" = uuid::Uuid, Path, description = "The user")), responses(
    (status = 200, description = "The user", body = UserView),
    (status = 404, description = "There is no such user"),
))]
pub async fn show_user(
    State(state): State<AppState>,
    PathId(id): PathId<UserId>,
    _: NoQuery,
) -> ApiResult<Answer<UserView>> {
    let mut conn = state.env.pool.get().await?;
    Ok(Answer(find_user(&mut conn, id).await?.into()))
}

async fn find_user(conn: &mut AsyncPgConnection, id: UserId) -> ApiResult<User> {
    queries::find_user(conn, id).await?.ok_or_else(|| ApiError::not_found(format!("There is no user {id}.")))
}

/// Make a user.
#[utoipa::path(post, path = "/api/v1/users", tag = "accounts", request_body = UserRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 201, description = "The user", body = UserView, headers(("Location" = String))),
    (status = 200, description = "The user that the same request made before", body = UserView),
    (status = 409, description = "The username is taken"),
    (status = 422, description = "A field cannot be used"),
))]
pub async fn create_user(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
    Json(body): Json<UserRequest>,
) -> ApiResult<Response> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let (user, is_new) = conn
        .transaction::<_, ApiError, _>(async move |conn| {
            if let Some(id) = repeat::claim(conn, &principal.name, key.as_deref(), "user", &body).await? {
                return Ok((find_user(conn, id).await?, false));
            }
            let UserRequest { username, email, password, role } = &body;
            let user = auth::create_user(conn, username, email.as_deref(), password, *role).await?;
            settle(conn, &principal, key.as_deref(), "user.create", &user.id.to_string(), &body).await?;
            Ok((user, true))
        })
        .await?;
    Ok(created(is_new, format!("/api/v1/users/{}", user.id), UserView::from(user)))
}

/// List API keys, working or not, newest first.
#[utoipa::path(get, path = "/api/v1/api-keys", tag = "accounts", params(PageParams), responses(
    (status = 200, description = "A page of keys", body = Listing<ApiKeyView>),
))]
pub async fn list_api_keys(
    State(state): State<AppState>,
    query: ListQuery<AllParams>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let page = queries::list_api_keys(&mut conn, &query.page).await?;
    Ok(Listing::of(page, ApiKeyView::from).respond(&query.uri))
}

/// Show an API key.
#[utoipa::path(get, path = "/api/v1/api-keys/{id}", tag = "accounts",
    params(("id" = uuid::Uuid, Path, description = "The key")), responses(
    (status = 200, description = "The key, without its text", body = ApiKeyView),
    (status = 404, description = "There is no such key"),
))]
pub async fn show_api_key(
    State(state): State<AppState>,
    PathId(id): PathId<ApiKeyId>,
    _: NoQuery,
) -> ApiResult<Answer<ApiKeyView>> {
    let mut conn = state.env.pool.get().await?;
    Ok(Answer(find_api_key(&mut conn, id).await?.into()))
}

async fn find_api_key(conn: &mut AsyncPgConnection, id: ApiKeyId) -> ApiResult<ApiKey> {
    queries::find_api_key_by_id(conn, id).await?.ok_or_else(|| no_api_key(id))
}

fn no_api_key(id: ApiKeyId) -> ApiError {
    ApiError::not_found(format!("There is no API key {id}."))
}

/// Make an API key. Its text is shown this once.
#[utoipa::path(post, path = "/api/v1/api-keys", tag = "accounts", request_body = ApiKeyRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 201, description = "The key and its text", body = NewApiKeyView, headers(("Location" = String))),
    (status = 200, description = "The key that the same request made before, without its text", body = NewApiKeyView),
    (status = 409, description = "A working key has this name"),
    (status = 422, description = "A field cannot be used"),
))]
pub async fn create_api_key(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
    Json(body): Json<ApiKeyRequest>,
) -> ApiResult<Response> {
    if body.expires_at.is_some_and(|at| !(1..=9999).contains(&at.year())) {
        return Err(ApiError::invalid("expires_at", "The year is from 1 to 9999."));
    }
    let now = state.env.clock.now();
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    let (api_key, text) = conn
        .transaction::<_, ApiError, _>(async move |conn| {
            if let Some(id) = repeat::claim(conn, &principal.name, key.as_deref(), "api_key", &body).await? {
                return Ok((find_api_key(conn, id).await?, None));
            }
            let new = auth::NewApiKey {
                name: body.name.clone(),
                role: body.role,
                expires_at: body.expires_at,
                created_by: principal.name.clone(),
            };
            let (made, text) = auth::create_api_key(conn, &new, now).await?;
            settle(conn, &principal, key.as_deref(), "api_key.create", &made.id.to_string(), &body).await?;
            Ok((made, Some(text)))
        })
        .await?;
    let location = format!("/api/v1/api-keys/{}", api_key.id);
    Ok(created(text.is_some(), location, NewApiKeyView { key: text, api_key: api_key.into() }))
}

/// Revoke an API key. Revoking it again changes nothing.
#[utoipa::path(delete, path = "/api/v1/api-keys/{id}", tag = "accounts",
    params(("id" = uuid::Uuid, Path, description = "The key")), responses(
    (status = 204, description = "The key works no more"),
    (status = 404, description = "There is no such key"),
))]
pub async fn revoke_api_key(
    State(state): State<AppState>,
    principal: Principal,
    PathId(id): PathId<ApiKeyId>,
    _: NoQuery,
) -> ApiResult<StatusCode> {
    let mut pooled = state.env.pool.get().await?;
    let conn: &mut AsyncPgConnection = &mut pooled;
    conn.transaction::<_, ApiError, _>(async move |conn| {
        let key = queries::revoke_api_key(conn, id).await?.ok_or_else(|| no_api_key(id))?;
        let details = serde_json::json!({ "name": key.name });
        audit::record(conn, &principal.name, "api_key.revoke", &id.to_string(), &details).await?;
        Ok(())
    })
    .await?;
    state.proven.forget();
    Ok(StatusCode::NO_CONTENT)
}
