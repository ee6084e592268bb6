//! Clients, and the transactions of one.

use crate::{
    app::AppState,
    error::{ApiError, ApiResult},
    export,
    list::Listing,
    params::{FromParams, ListParams, ListQuery, NoQuery, PageParams, Params, PathText},
    routes::transactions::{self, RangeParams},
    views::{clients::ClientView, transactions::TransactionView, words},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::Response,
};
use diesel_async::AsyncPgConnection;
use shared::{
    clients::{AccountType, Client, queries, queries::ClientFilter},
    pagination::{Cursor, InvalidCursor},
};
use utoipa::IntoParams;

/// What a list of clients is narrowed to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ClientParams {
    /// Only clients whose id, name or e-mail begins so.
    search: Option<String>,
    /// Only this kind of account.
    #[param(schema_with = words::account_type)]
    account_type: Option<AccountType>,
    /// Only this country, as it was given.
    country: Option<String>,
}

impl FromParams for ClientParams {
    fn from_params(params: &Params) -> ApiResult<Self> {
        Ok(Self {
            search: params.text("search")?,
            account_type: params.parsed("account_type")?,
            country: params.text("country")?,
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
    let ClientParams { search, account_type, country } = query.params;
    let mut conn = state.env.pool.get().await?;
    let filter = ClientFilter { search, account_type, country };
    let page = queries::list_clients(&mut conn, &filter, &query.page).await?;
    Ok(Listing::of(page, ClientView::from).respond(&query.uri))
}

async fn find(conn: &mut AsyncPgConnection, id: &str) -> ApiResult<Client> {
    queries::find_client(conn, id).await?.ok_or_else(|| no_client(id))
}

/// 404: there is no such client.
pub fn no_client(id: &str) -> ApiError {
    ApiError::not_found(format!("There is no client {:?}.", id.chars().take(80).collect::<String>()))
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
