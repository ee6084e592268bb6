//! Listing the materialized view: what each client bought and sold in each currency, as of its last refresh.

use crate::{
    clients::found_by,
    pagination::{Cursor, InvalidCursor, Page, PageRequest},
    schema::client_transaction_summary as summary,
};
use diesel::{
    dsl::sql,
    expression::BoxableExpression,
    pg::Pg,
    prelude::*,
    sql_types::{Bool, Numeric, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use rust_decimal::Decimal;

text_enum! {
    /// The order of the list. Amounts of two currencies cannot be compared: all but `client` sort within a currency.
    SummaryOrder {
        /// By client, ascending.
        Client = "client",
        /// By how many transactions of any kind, the most first.
        Transactions = "transactions",
        /// By what the buys cost, the most first.
        Spent = "spent",
        /// By what the sells brought, the most first.
        Gained = "gained",
    }
}

/// What the list is narrowed to.
#[derive(Debug, Clone, Default)]
pub struct ClientSummaryFilter {
    /// Only clients that a search finds, as in the list of clients.
    pub search: Option<String>,
    /// Only this currency.
    pub currency: Option<String>,
}

/// What a client's transactions in one currency come to; failed ones are left out.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = summary, check_for_backend(Pg))]
pub struct ClientSummary {
    /// The client.
    pub client_id: String,
    /// ISO 4217 code.
    pub currency: String,
    /// How many transactions of any kind.
    pub total_transactions: i64,
    /// How many buys.
    pub buys: i64,
    /// How many sells.
    pub sells: i64,
    /// What the buys cost.
    pub total_spent: Decimal,
    /// What the sells brought.
    pub total_gained: Decimal,
}

impl ClientSummary {
    /// What an order sorts by, besides currency and client.
    fn value(&self, order: SummaryOrder) -> Decimal {
        match order {
            SummaryOrder::Client => Decimal::ZERO,
            SummaryOrder::Transactions => self.total_transactions.into(),
            SummaryOrder::Spent => self.total_spent,
            SummaryOrder::Gained => self.total_gained,
        }
    }
}

/// The key of a cursor: currency, value and client.
pub fn cursor_key(cursor: &Cursor) -> Result<(String, Decimal, String), InvalidCursor> {
    match cursor.key.as_slice() {
        [currency, value, client] => {
            Ok((currency.clone(), value.parse().map_err(|_| InvalidCursor)?, client.clone()))
        }
        _ => Err(InvalidCursor),
    }
}

/// What an order sorts by besides currency and client, as the view's indexes have it, and its type.
fn sorted_by(order: SummaryOrder) -> Option<(&'static str, &'static str)> {
    match order {
        SummaryOrder::Client => None,
        SummaryOrder::Transactions => Some(("(-total_transactions)", "bigint")),
        SummaryOrder::Spent => Some(("(-total_spent)", "numeric")),
        SummaryOrder::Gained => Some(("(-total_gained)", "numeric")),
    }
}

type Condition = Box<dyn BoxableExpression<summary::table, Pg, SqlType = Bool>>;

/// What lies `beyond` (`<` or `>`) a cursor's row: one comparison of rows, which an index carries out.
fn lies(
    beyond: &str,
    order: SummaryOrder,
    (currency, value, client): (String, Decimal, String),
) -> Condition {
    match sorted_by(order) {
        None => {
            let place = sql::<Bool>(&format!("(client_id, currency) {beyond} ("));
            Box::new(place.bind::<Text, _>(client).sql(", ").bind::<Text, _>(currency).sql(")"))
        }
        Some((column, kind)) => {
            let place = sql::<Bool>(&format!("(currency, {column}, client_id) {beyond} ("));
            let place = place.bind::<Text, _>(currency).sql(", ").bind::<Numeric, _>(-value);
            Box::new(place.sql(&format!("::{kind}, ")).bind::<Text, _>(client).sql(")"))
        }
    }
}

/// Summaries in an order: `older` is the way down the list. Reads the view alone.
pub async fn list_client_summaries(
    conn: &mut AsyncPgConnection,
    filter: &ClientSummaryFilter,
    order: SummaryOrder,
    request: &PageRequest,
) -> QueryResult<Page<ClientSummary>> {
    let mut query = summary::table.select(ClientSummary::as_select()).into_boxed();
    if let Some(currency) = &filter.currency {
        query = query.filter(summary::currency.eq(currency.clone()));
    }
    if let Some(search) = &filter.search {
        query = query.filter(found_by("client_transaction_summary.client_id", search));
    }
    let upwards = request.upwards();
    let (beyond, way) = if upwards { ("<", "DESC") } else { (">", "ASC") };
    if let Some(from) = request.cursor.as_ref().and_then(|cursor| cursor_key(cursor).ok()) {
        query = query.filter(lies(beyond, order, from));
    }
    let sort = match sorted_by(order) {
        None => format!("client_id {way}, currency {way}"),
        Some((column, _)) => format!("currency {way}, {column} {way}, client_id {way}"),
    };
    let rows = query.order(sql::<Text>(&sort)).limit(request.limit + 1).load(conn).await?;
    Ok(Page::from_rows(rows, request, |row| {
        vec![row.currency.clone(), row.value(order).to_string(), row.client_id.clone()]
    }))
}

/// The currencies of the view, in order: found by jumping along an index.
pub async fn currencies(conn: &mut AsyncPgConnection) -> QueryResult<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    loop {
        let after = found.last().cloned().unwrap_or_default();
        let next = summary::table
            .filter(summary::currency.gt(after))
            .order(summary::currency)
            .select(summary::currency)
            .first(conn)
            .await
            .optional()?;
        match next {
            Some(currency) => found.push(currency),
            None => return Ok(found),
        }
    }
}
