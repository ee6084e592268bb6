//! Clients, and the transactions of one.

use crate::{
    actions,
    app::AppState,
    auth::Principal,
    error::{ApiError, ApiResult},
    export, kept,
    list::{self, Listing},
    params::{
        self, FromParams, IdempotencyKey, ListParams, ListQuery, NoQuery, PageParams, Params, PathText,
    },
    routes::transactions::{self, RangeParams},
    views::{clients::ClientView, transactions::TransactionView, words},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use diesel_async::AsyncPgConnection;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use shared::{
    cache::Topic,
    clients::{
        AccountType, Client, ClientError, ClientStatus, ContactPatch, NewAccount, queries,
        queries::ClientFilter,
        service::{Edited, edit_contact},
    },
    pagination::{Cursor, InvalidCursor},
};
use utoipa::{IntoParams, ToSchema};

/// What a list of clients is narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ClientParams {
    /// Only clients whose id begins so (ids are told apart by case), or of whose name's words, e-mail and phone
    /// number something begins with each of these words, without regard to case.
    search: Option<String>,
    /// Only this kind of account.
    #[param(schema_with = words::account_type)]
    account_type: Option<AccountType>,
    /// Only this country, as it was given.
    country: Option<String>,
    /// Only with this status.
    #[param(schema_with = words::client_status)]
    status: Option<ClientStatus>,
}

impl FromParams for ClientParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self {
            search: params.text("search")?,
            account_type: params.parsed("account_type")?,
            country: params.text("country")?,
            status: params.parsed("status")?,
        })
    }
}

impl ListParams for ClientParams {
    fn check_cursor(cursor: &Cursor) -> Result<(), InvalidCursor> {
        cursor.single::<String>().map(drop)
    }
}

/// List clients by id.
#[utoipa::path(get, path = "/api/v1/clients", tag = "clients", params(ClientParams, PageParams), responses(
    (status = 200, description = "A page of clients", body = Listing<ClientView>),
))]
pub async fn list_clients(
    State(state): State<AppState>,
    query: ListQuery<ClientParams>,
) -> ApiResult<Response> {
    let ClientParams { search, account_type, country, status } = query.params;
    let mut conn = state.env.pool.get().await?;
    let search = search.filter(|search| !search.trim().is_empty());
    let filter = ClientFilter { search, account_type, country, status };
    let page = queries::list_clients(&mut conn, &filter, &query.page).await?;
    Ok(Listing::of(page, ClientView::from).respond(&query.uri))
}

/// The client; 404 if there is none.
pub async fn find(conn: &mut AsyncPgConnection, id: &str) -> ApiResult<Client> {
    queries::find_client(conn, id).await?.ok_or_else(|| no_client(id))
}

/// 404: there is no such client.
pub fn no_client(id: &str) -> ApiError {
    ClientError::NotFound(id.to_owned()).into()
}

/// Show a client.
#[utoipa::path(get, path = "/api/v1/clients/{id}", tag = "clients",
    params(("id" = String, Path, description = "The client")), responses(
    (status = 200, description = "The client", body = ClientView),
    (status = 404, description = "There is no such client"),
))]
pub async fn show_client(
    State(state): State<AppState>,
    PathText(id): PathText,
    _: NoQuery,
) -> ApiResult<Json<ClientView>> {
    let mut conn = state.env.pool.get().await?;
    Ok(Json(find(&mut conn, &id).await?.into()))
}

/// Show a client by its username.
#[utoipa::path(get, path = "/api/v1/clients/by-username/{username}", tag = "clients",
    params(("username" = String, Path, description = "The name under which it trades")), responses(
    (status = 200, description = "The client", body = ClientView),
    (status = 404, description = "There is no such client"),
))]
pub async fn show_client_by_username(
    State(state): State<AppState>,
    PathText(username): PathText,
    _: NoQuery,
) -> ApiResult<Response> {
    let read = async || {
        let mut conn = state.env.pool.get().await?;
        Ok(queries::find_by_username(&mut conn, &username).await?.map(ClientView::from))
    };
    let found = kept::find(&state, &Topic::User(username.clone()), "", read).await?;
    found.ok_or_else(|| {
        let username: String = username.chars().take(80).collect();
        ApiError::not_found(format!("There is no client whose username is {username:?}."))
    })
}

/// An account holder to register.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientRequest {
    /// The name under which it trades: 3 to 50 characters, not digits alone; unique.
    #[schema(example = "ann", min_length = 3, max_length = 50)]
    username: String,
    /// What the account begins with: a decimal as a string, at most four decimals.
    #[schema(value_type = String, example = "1000.00")]
    balance: Decimal,
    /// Its id, at most 36 characters; a fresh one if absent.
    client_id: Option<String>,
    /// Full name.
    name: Option<String>,
    /// E-mail; of no other client.
    #[schema(example = "ann@example.org")]
    email: Option<String>,
    /// Currency of the account (ISO 4217); the installation's if absent.
    #[schema(example = "USD")]
    currency: Option<String>,
}

/// Register an account holder.
#[utoipa::path(post, path = "/api/v1/clients", tag = "clients", request_body = ClientRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeating the request harmless")),
    responses(
    (status = 201, description = "The client", body = ClientView, headers(("Location" = String))),
    (status = 200, description = "The client that the same request registered before", body = ClientView),
    (status = 409, description = "The username, the id or the e-mail is another client's"),
    (status = 422, description = "Fields that cannot be used, each with the reason"),
))]
pub async fn register_client(
    State(state): State<AppState>,
    principal: Principal,
    IdempotencyKey(key): IdempotencyKey,
    _: NoQuery,
    params::Json(body): params::Json<ClientRequest>,
) -> ApiResult<Response> {
    let new = NewAccount {
        username: body.username.clone(),
        client_id: body.client_id.clone(),
        name: body.name.clone(),
        email: body.email.clone(),
        currency: body.currency.clone().unwrap_or_else(|| state.env.settings.currency.clone()),
        balance: body.balance,
    };
    let (client, is_new) = actions::stocks::register(&state, &principal, &new, key.as_deref(), &body).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let location = list::path_of("/api/v1/clients/", &client.client_id);
    Ok((status, [(header::LOCATION, location)], Json(ClientView::from(client))).into_response())
}

/// What is to become of a client's contact fields. A field that is left out stays; null, or a blank text, empties
/// it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactRequest {
    /// The `contact_version` that was read; if the fields have changed since, nothing is saved.
    #[schema(example = "9f86d081884c7d65")]
    contact_version: String,
    /// Full name; at most 255 characters.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 255)]
    name: Option<Option<String>>,
    /// E-mail; at most 254 characters, and of no other client.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 254, example = "ann@example.org")]
    email: Option<Option<String>>,
    /// Phone number; at most 50 characters.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 50)]
    phone_number: Option<Option<String>>,
    /// Telegram chat: its number, or a public one's `@name`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "123456789")]
    telegram_chat_id: Option<Option<String>>,
    /// Postal address; may have several lines, at most 2000 bytes.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 2000)]
    address: Option<Option<String>>,
    /// Country; at most 100 characters.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 100)]
    country: Option<Option<String>>,
}

/// Tells a field that is null from one that is left out.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Change a client's contact fields.
///
/// Of two who have read the same version and change it, the second is refused with 409 and told who was faster.
/// What changes nothing is answered with 200 and leaves no trace, so a request may be sent again.
#[utoipa::path(patch, path = "/api/v1/clients/{id}", tag = "clients",
    params(("id" = String, Path, description = "The client")), request_body = ContactRequest, responses(
    (status = 200, description = "The client as it is now", body = ClientView),
    (status = 404, description = "There is no such client"),
    (status = 409, description = "The fields have changed since they were read, or the e-mail is another client's"),
    (status = 422, description = "Fields that cannot be used, each with the reason"),
))]
pub async fn change_client(
    State(state): State<AppState>,
    principal: Principal,
    PathText(id): PathText,
    _: NoQuery,
    params::Json(body): params::Json<ContactRequest>,
) -> ApiResult<Json<ClientView>> {
    let ContactRequest { contact_version, name, email, phone_number, telegram_chat_id, address, country } =
        body;
    let patch = ContactPatch { name, email, phone_number, telegram_chat_id, address, country };
    let mut conn = state.env.pool.get().await?;
    let edited = edit_client(&state, &mut conn, &id, &patch, &contact_version, &principal.name).await?;
    Ok(Json(edited.client.into()))
}

/// Edits a client's contact fields; from the API and from the page.
pub async fn edit_client(
    state: &AppState,
    conn: &mut AsyncPgConnection,
    id: &str,
    patch: &ContactPatch,
    version: &str,
    actor: &str,
) -> Result<Edited, ClientError> {
    let editing = edit_contact(conn, id, patch, version, actor);
    let known = |edited: &Result<_, ClientError>| !matches!(edited, Err(ClientError::Database(_)));
    state.env.cache.change(&state.env.pool, &[Topic::All], known, editing).await?
}

/// List a client's transactions, newest first.
///
/// With `Accept: text/csv` all that match, as a file: a header of the names under which such a file can be
/// handed in, amounts exact, times in UTC; `limit` and `cursor` do not apply then. A text that a spreadsheet
/// would run as a formula has an apostrophe before it.
#[utoipa::path(get, path = "/api/v1/clients/{id}/transactions", tag = "clients",
    params(("id" = String, Path, description = "The client"), RangeParams, PageParams), responses(
    (status = 200, description = "A page of transactions, or all of them as a file", content(
        (Listing<TransactionView> = "application/json"),
        (String = "text/csv"))),
    (status = 404, description = "There is no such client"),
))]
pub async fn list_client_transactions(
    State(state): State<AppState>,
    PathText(id): PathText,
    headers: HeaderMap,
    query: ListQuery<RangeParams>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let client = find(&mut conn, &id).await?;
    let mut filter = query.params.into_filter()?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("text/csv") {
        drop(conn);
        return Ok(export::client_transactions(state, &client.client_id, filter));
    }
    filter.client_id = Some(client.client_id);
    transactions::respond(&mut conn, &filter, &query.page, &query.uri).await
}
