//! Statements about clients.

use super::model::{AccountType, Client};
use crate::{
    pagination::{Page, PageRequest},
    schema::{client_totals, clients},
};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// One client.
pub async fn find_client(conn: &mut AsyncPgConnection, id: &str) -> QueryResult<Option<Client>> {
    clients::table.find(id).select(Client::as_select()).first(conn).await.optional()
}

/// How many clients there are.
pub async fn count_all(conn: &mut AsyncPgConnection) -> QueryResult<i64> {
    clients::table.count().get_result(conn).await
}

/// What a client's transactions in one currency come to.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = client_totals, check_for_backend(diesel::pg::Pg))]
pub struct ClientTotals {
    /// ISO 4217 code.
    pub currency: String,
    /// How many.
    pub count: i64,
    /// Buys and payments.
    pub spent: rust_decimal::Decimal,
    /// Sells and refunds.
    pub gained: rust_decimal::Decimal,
    /// The first of them.
    pub first_at: chrono::DateTime<chrono::Utc>,
    /// The last of them.
    pub last_at: chrono::DateTime<chrono::Utc>,
}

/// A client's totals, a row a currency.
pub async fn client_totals(conn: &mut AsyncPgConnection, id: &str) -> QueryResult<Vec<ClientTotals>> {
    client_totals::table
        .filter(client_totals::client_id.eq(id))
        .order(client_totals::currency)
        .select(ClientTotals::as_select())
        .load(conn)
        .await
}

/// What a list of clients is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct ClientFilter {
    /// Only clients whose id, name or e-mail begins so (without regard to case, the id exactly).
    pub search: Option<String>,
    /// Only this kind of account.
    pub account_type: Option<AccountType>,
    /// Only this country.
    pub country: Option<String>,
}

/// Clients by id, ascending: `older` is the way towards higher ids. The cursor's key is the id.
pub async fn list_clients(
    conn: &mut AsyncPgConnection,
    filter: &ClientFilter,
    request: &PageRequest,
) -> QueryResult<Page<Client>> {
    let mut query = clients::table.select(Client::as_select()).into_boxed();
    if let Some(search) = &filter.search {
        let prefix = format!("{}%", search.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_"));
        query = query.filter(
            clients::client_id
                .like(prefix.clone())
                .or(clients::name.ilike(prefix.clone()))
                .or(clients::email.ilike(prefix)),
        );
    }
    if let Some(account_type) = filter.account_type {
        query = query.filter(clients::account_type.eq(account_type));
    }
    if let Some(country) = &filter.country {
        query = query.filter(clients::country.eq(country.clone()));
    }
    let from = request.cursor.as_ref().and_then(|cursor| cursor.single::<String>().ok());
    query = match (from, request.upwards()) {
        (Some(id), true) => query.filter(clients::client_id.lt(id)).order(clients::client_id.desc()),
        (Some(id), false) => query.filter(clients::client_id.gt(id)).order(clients::client_id.asc()),
        (None, _) => query.order(clients::client_id.asc()),
    };
    let rows = query.limit(request.limit + 1).load(conn).await?;
    Ok(Page::from_rows(rows, request, |client| vec![client.client_id.clone()]))
}
