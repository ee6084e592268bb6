//! Statements about clients.

use super::{
    contact::Contact,
    model::{AccountType, Client, ClientStatus},
    register::NewAccount,
    search::found_by,
};
use crate::{
    fixed::Fixed,
    pagination::{Page, PageRequest},
    schema::{client_totals, clients},
};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;
use std::collections::HashMap;

/// One client.
pub async fn find_client(conn: &mut AsyncPgConnection, id: &str) -> QueryResult<Option<Client>> {
    clients::table.find(id).select(Client::as_select()).first(conn).await.optional()
}

/// Those of some clients that there are.
pub async fn known_clients(conn: &mut AsyncPgConnection, ids: &[&str]) -> QueryResult<Vec<String>> {
    clients::table.filter(clients::client_id.eq_any(ids)).select(clients::client_id).load(conn).await
}

/// The client of a username.
pub async fn find_by_username(conn: &mut AsyncPgConnection, username: &str) -> QueryResult<Option<Client>> {
    clients::table
        .filter(clients::username.eq(username))
        .select(Client::as_select())
        .first(conn)
        .await
        .optional()
}

/// One client, locked against changes until the transaction ends.
pub(super) async fn lock_client(conn: &mut AsyncPgConnection, id: &str) -> QueryResult<Option<Client>> {
    clients::table.find(id).select(Client::as_select()).for_no_key_update().first(conn).await.optional()
}

/// Id and name of the client whose e-mail this is, unless it is `but`.
pub(super) async fn find_by_email(
    conn: &mut AsyncPgConnection,
    email: &str,
    but: &str,
) -> QueryResult<Option<(String, Option<String>)>> {
    let same = diesel::dsl::sql::<Bool>("lower(email) = lower(").bind::<Text, _>(email).sql(")");
    clients::table
        .filter(same)
        .filter(clients::client_id.ne(but))
        .select((clients::client_id, clients::name))
        .first(conn)
        .await
        .optional()
}

/// Stores an account holder; none if its id, its username or its e-mail is another's.
pub(super) async fn insert_account(
    conn: &mut AsyncPgConnection,
    id: &str,
    new: &NewAccount,
) -> QueryResult<Option<Client>> {
    diesel::insert_into(clients::table)
        .values((
            clients::client_id.eq(id),
            clients::username.eq(&new.username),
            clients::name.eq(&new.name),
            clients::email.eq(&new.email),
            clients::currency.eq(&new.currency),
            clients::opening_balance.eq(new.balance),
            clients::position.eq(new.balance),
        ))
        .on_conflict_do_nothing()
        .returning(Client::as_returning())
        .get_result(conn)
        .await
        .optional()
}

/// Writes a client's contact fields.
pub(super) async fn set_contact(
    conn: &mut AsyncPgConnection,
    id: &str,
    contact: &Contact,
) -> QueryResult<Client> {
    diesel::update(clients::table.find(id))
        .set((
            clients::name.eq(&contact.name),
            clients::email.eq(&contact.email),
            clients::phone_number.eq(&contact.phone_number),
            clients::telegram_chat_id.eq(&contact.telegram_chat_id),
            clients::address.eq(&contact.address),
            clients::country.eq(&contact.country),
        ))
        .returning(Client::as_returning())
        .get_result(conn)
        .await
}

/// The names of clients, by id; of those who have one.
pub async fn names(conn: &mut AsyncPgConnection, ids: &[&str]) -> QueryResult<Vec<(String, String)>> {
    clients::table
        .filter(clients::client_id.eq_any(ids))
        .filter(clients::name.is_not_null())
        .select((clients::client_id, clients::name.assume_not_null()))
        .load(conn)
        .await
}

/// What people know some clients by, by id: the name, else the username; of those who have one.
pub async fn labels(conn: &mut AsyncPgConnection, ids: &[&str]) -> QueryResult<HashMap<String, String>> {
    let known: Vec<(String, Option<String>, Option<String>)> = clients::table
        .filter(clients::client_id.eq_any(ids))
        .select((clients::client_id, clients::name, clients::username))
        .load(conn)
        .await?;
    Ok(known.into_iter().filter_map(|(id, name, username)| Some((id, name.or(username)?))).collect())
}

/// The first countries in use, at most `limit`, in order: found by jumping along their index.
pub async fn countries(conn: &mut AsyncPgConnection, limit: i64) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        country: String,
    }
    let rows: Vec<Row> =
        Fixed(diesel::sql_query(include_str!("countries.sql")).bind::<BigInt, _>(limit)).load(conn).await?;
    Ok(rows.into_iter().map(|row| row.country).collect())
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
    pub spent: Decimal,
    /// Sells and refunds.
    pub gained: Decimal,
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
    /// Only clients whose id begins so (with regard to case), or whose words of the name, e-mail or phone number
    /// begin with its words.
    pub search: Option<String>,
    /// Only this kind of account.
    pub account_type: Option<AccountType>,
    /// Only this country.
    pub country: Option<String>,
    /// Only with this status.
    pub status: Option<ClientStatus>,
}

/// Clients by id, ascending: `older` is the way towards higher ids. The cursor's key is the id.
pub async fn list_clients(
    conn: &mut AsyncPgConnection,
    filter: &ClientFilter,
    request: &PageRequest,
) -> QueryResult<Page<Client>> {
    let mut query = clients::table.select(Client::as_select()).into_boxed();
    if let Some(search) = &filter.search {
        query = query.filter(found_by("clients.client_id", search));
    }
    if let Some(account_type) = filter.account_type {
        query = query.filter(clients::account_type.eq(account_type));
    }
    if let Some(country) = &filter.country {
        query = query.filter(clients::country.eq(country.clone()));
    }
    // Not indexed, so that a position can move without touching an index; few clients are suspended, and
    // 50,000 are looked through in 15 ms.
    let suspended = || clients::suspended_at.is_not_null().or(clients::position.lt(Decimal::ZERO));
    query = match filter.status {
        None => query,
        Some(ClientStatus::Suspended) => query.filter(suspended()),
        Some(ClientStatus::Active) => query.filter(diesel::dsl::not(suspended())),
    };
    let from = request.cursor.as_ref().and_then(|cursor| cursor.single::<String>().ok());
    query = match (from, request.upwards()) {
        (Some(id), true) => query.filter(clients::client_id.lt(id)).order(clients::client_id.desc()),
        (Some(id), false) => query.filter(clients::client_id.gt(id)).order(clients::client_id.asc()),
        (None, _) => query.order(clients::client_id.asc()),
    };
    let rows = query.limit(request.limit + 1).load(conn).await?;
    Ok(Page::from_rows(rows, request, |client| vec![client.client_id.clone()]))
}
