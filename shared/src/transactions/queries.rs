//! Reading transactions. A client's rows come by the covering index, within the client's own first
//! and last transaction: an unbounded query would lock every month's partition.

use super::model::{Transaction, TransactionKind, TransactionStatus};
use crate::{
    fixed::Fixed,
    pagination::{Page, PageRequest},
    schema::{client_failures, client_totals, transaction_keys, transactions},
};
use chrono::{DateTime, Utc};
use diesel::{
    dsl::{max, min},
    prelude::*,
    sql_types::{Array, BigInt, Text, Timestamptz},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use futures::TryStreamExt;

/// What a list of transactions is narrowed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    /// Only this client.
    pub client_id: Option<String>,
    /// Not before.
    pub from: Option<DateTime<Utc>>,
    /// Before.
    pub until: Option<DateTime<Utc>>,
    /// Only this kind.
    pub kind: Option<TransactionKind>,
    /// Only this status.
    pub status: Option<TransactionStatus>,
    /// Only this currency.
    pub currency: Option<String>,
}

/// Transactions, newest first. The cursor's key is the time (RFC 3339) and the id. Of one client they
/// come by index; of all, the newest months are sorted first and only as many as the page needs.
pub async fn list_transactions(
    conn: &mut AsyncPgConnection,
    filter: &TransactionFilter,
    request: &PageRequest,
) -> QueryResult<Page<Transaction>> {
    let Some(client_id) = &filter.client_id else {
        return list_within(conn, None, filter, request).await;
    };
    match active_between(conn, client_id).await? {
        None => Ok(Page { items: Vec::new(), older: None, newer: None }),
        active => list_within(conn, active, filter, request).await,
    }
}

/// The same of a client whose first and last transaction are known.
pub async fn list_within(
    conn: &mut AsyncPgConnection,
    active: Option<(DateTime<Utc>, DateTime<Utc>)>,
    filter: &TransactionFilter,
    request: &PageRequest,
) -> QueryResult<Page<Transaction>> {
    let mut query = transactions::table.select(Transaction::as_select()).into_boxed();
    if let Some(client_id) = &filter.client_id {
        query = query.filter(transactions::client_id.eq(client_id.clone()));
    }
    if let Some((first, last)) = active {
        query = query.filter(transactions::occurred_at.between(first, last));
    }
    if let Some(from) = filter.from {
        query = query.filter(transactions::occurred_at.ge(from));
    }
    if let Some(until) = filter.until {
        query = query.filter(transactions::occurred_at.lt(until));
    }
    if let Some(kind) = filter.kind {
        query = query.filter(transactions::kind.eq(kind));
    }
    if let Some(status) = filter.status {
        query = query.filter(transactions::status.eq(status));
    }
    if let Some(currency) = &filter.currency {
        query = query.filter(transactions::currency.eq(currency.clone()));
    }
    let from = request.cursor.as_ref().and_then(|cursor| match cursor.key.as_slice() {
        [at, id] => Some((at.parse::<DateTime<Utc>>().ok()?, id.clone())),
        _ => None,
    });
    let (at, id) = (transactions::occurred_at, transactions::transaction_id);
    query = match (from, request.upwards()) {
        (Some((from_at, from_id)), true) => {
            query.filter(at.ge(from_at).and(at.gt(from_at).or(id.gt(from_id)))).order((at.asc(), id.asc()))
        }
        (Some((from_at, from_id)), false) => {
            query.filter(at.le(from_at).and(at.lt(from_at).or(id.lt(from_id)))).order((at.desc(), id.desc()))
        }
        (None, _) => query.order((at.desc(), id.desc())),
    };
    let rows = query.limit(request.limit + 1).load(conn).await?;
    Ok(page_of(rows, request))
}

fn page_of(rows: Vec<Transaction>, request: &PageRequest) -> Page<Transaction> {
    Page::from_rows(rows, request, |row| vec![row.occurred_at.to_rfc3339(), row.transaction_id.clone()])
}

/// Of how many transactions a client's first page is.
pub const LATEST: i64 = 25;

/// The statement of [`latest`].
pub const LATEST_OF_CLIENTS: &str = include_str!("latest.sql");

/// A client, and when its first and its last transaction occurred.
#[derive(Debug, Clone)]
pub(crate) struct Active {
    pub client_id: String,
    pub first_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
}

/// The first page, of [`LATEST`], of each client's transactions, as [`list_within`] reads it.
pub(crate) async fn latest(
    conn: &mut AsyncPgConnection,
    clients: &[Active],
) -> QueryResult<Vec<Page<Transaction>>> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = BigInt)]
        question: i64,
        #[diesel(embed)]
        transaction: Transaction,
    }
    let each = || clients.iter();
    let statement = diesel::sql_query(LATEST_OF_CLIENTS)
        .bind::<Array<Text>, _>(each().map(|one| one.client_id.as_str()).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(each().map(|one| one.first_at).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(each().map(|one| one.last_at).collect::<Vec<_>>());
    let mut rows = Fixed(statement).load_stream::<Row>(conn).await?;
    let page = || Vec::with_capacity(LATEST as usize + 1);
    let mut pages: Vec<Vec<Transaction>> = std::iter::repeat_with(page).take(clients.len()).collect();
    while let Some(row) = rows.try_next().await? {
        if let Some(page) = usize::try_from(row.question - 1).ok().and_then(|place| pages.get_mut(place)) {
            page.push(row.transaction);
        }
    }
    let request = PageRequest { limit: LATEST, cursor: None };
    let page = |mut rows: Vec<Transaction>| {
        rows.sort_unstable_by(|one, other| {
            let later = other.occurred_at.cmp(&one.occurred_at);
            later.then_with(|| other.transaction_id.cmp(&one.transaction_id))
        });
        page_of(rows, &request)
    };
    Ok(pages.into_iter().map(page).collect())
}

/// How many transactions there are, from the daily totals.
pub async fn count_all(conn: &mut AsyncPgConnection) -> QueryResult<i64> {
    diesel::select(diesel::dsl::sql::<BigInt>("(SELECT coalesce(sum(count), 0)::bigint FROM day_totals)"))
        .get_result(conn)
        .await
}

/// When a client's first and last transactions occurred, whatever became of them.
async fn active_between(
    conn: &mut AsyncPgConnection,
    client_id: &str,
) -> QueryResult<Option<(DateTime<Utc>, DateTime<Utc>)>> {
    let totals = client_totals::table
        .filter(client_totals::client_id.eq(client_id))
        .select((min(client_totals::first_at), max(client_totals::last_at)))
        .first::<(Option<DateTime<Utc>>, Option<DateTime<Utc>>)>(conn)
        .await?;
    let failures = client_failures::table
        .find(client_id)
        .select((client_failures::first_at, client_failures::last_at))
        .first::<(DateTime<Utc>, DateTime<Utc>)>(conn)
        .await
        .optional()?;
    Ok(match (totals.0.zip(totals.1), failures) {
        (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
        (one, other) => one.or(other),
    })
}

/// One transaction by its id, through the key registry.
pub async fn find_transaction(conn: &mut AsyncPgConnection, id: &str) -> QueryResult<Option<Transaction>> {
    let key: Option<(String, DateTime<Utc>)> = transaction_keys::table
        .find(id)
        .select((transaction_keys::client_id, transaction_keys::occurred_at))
        .first(conn)
        .await
        .optional()?;
    let Some((client_id, occurred_at)) = key else { return Ok(None) };
    transactions::table
        .filter(transactions::client_id.eq(client_id))
        .filter(transactions::occurred_at.eq(occurred_at))
        .filter(transactions::transaction_id.eq(id))
        .select(Transaction::as_select())
        .first(conn)
        .await
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_a_page_and_one_more() {
        assert!(LATEST_OF_CLIENTS.contains(&format!("LIMIT {}\n", LATEST + 1)));
    }
}
