//! Statements about clients.

use super::model::{AccountType, Client};
use crate::{
    pagination::{Page, PageRequest},
    schema::clients,
};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// One client.
pub async fn find_client(conn: &mut AsyncPgConnection, id: &str) -> QueryResult<Option<Client>> {
    clients::table
        .find(id)
        .select(Client::as_select())
        .first(conn)
        .await
        .optional()
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
        let prefix = format!(
            "{}%",
            search
                .replace('\\', "\\\\")
                .replace('%', "\\%")
                .replace('_', "\\_")
        );
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
    let from = request
        .cursor
        .as_ref()
        .and_then(|cursor| cursor.single::<String>().ok());
    query = match (from, request.upwards()) {
        (Some(id), true) => query
            .filter(clients::client_id.lt(id))
            .order(clients::client_id.desc()),
        (Some(id), false) => query
            .filter(clients::client_id.gt(id))
            .order(clients::client_id.asc()),
        (None, _) => query.order(clients::client_id.asc()),
    };
    let rows = query.limit(request.limit + 1).load(conn).await?;
    Ok(Page::from_rows(rows, request, |client| {
        vec![client.client_id.clone()]
    }))
}
