//! Clients, and the transactions of one.

use crate::{
    app::AppState,
    error::{ApiError, ApiResult},
    list::Listing,
    params::{FromParams, ListParams, ListQuery, NoQuery, PageParams, Params, PathText},
    routes::transactions::{self, RangeParams},
    views::{clients::ClientView, transactions::TransactionView, words},
};
use axum::{Json, extract::State, response::Response};
use diesel_async::AsyncPgConnection;
use shared::{
    clients::{
        AccountType, Client, ClientStatus,
        queries::{self, ClientFilter},
    },
    pagination::{Cursor, InvalidCursor},
};
use utoipa::{IntoParams};

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
#[utoipa::path(get, path = "/api/v1/clients/{id}/transactions", tag = "clients",
    params(("id" = String, Path, description = "The client"), RangeParams, PageParams), responses(
    (status = 200, description = "A page of transactions", body = Listing<TransactionView>),
    (status = 404, description = "There is no such client"),
))]
pub async fn list_client_transactions(
    State(state): State<AppState>,
    PathText(id): PathText,
    query: ListQuery<RangeParams>,
) -> ApiResult<Response> {
    let mut conn = state.env.pool.get().await?;
    let client = find(&mut conn, &id).await?;
    let mut filter = query.params.into_filter()?;
    filter.client_id = Some(client.client_id);
    transactions::respond(&mut conn, &filter, &query.page, &query.uri).await
}
