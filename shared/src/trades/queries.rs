//! Statements about trades and holdings.

use super::model::{Holding, Trade, TradeState};
use crate::{
    ids::{RunId, TradeId, first_of},
    pagination::{Page, PageRequest},
    schema::{holdings, trades},
};
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A trade.
pub async fn find_trade(conn: &mut AsyncPgConnection, id: TradeId) -> QueryResult<Option<Trade>> {
    trades::table.find(id).select(Trade::as_select()).first(conn).await.optional()
}

/// The trades of these ids that there are.
pub async fn find_trades(conn: &mut AsyncPgConnection, ids: &[TradeId]) -> QueryResult<Vec<Trade>> {
    trades::table.filter(trades::id.eq_any(ids)).select(Trade::as_select()).load(conn).await
}

/// A trade, locked until the caller's transaction ends.
pub(super) async fn lock_trade(conn: &mut AsyncPgConnection, id: TradeId) -> QueryResult<Option<Trade>> {
    trades::table.find(id).select(Trade::as_select()).for_no_key_update().first(conn).await.optional()
}

/// The trade that takes another back, unless that was rejected.
pub async fn find_reversal(conn: &mut AsyncPgConnection, of: TradeId) -> QueryResult<Option<TradeId>> {
    trades::table
        .filter(trades::reversal_of.eq(of).and(trades::state.ne(TradeState::Rejected)))
        .select(trades::id)
        .first(conn)
        .await
        .optional()
}

/// What a list of trades is narrowed to; an empty list is everything.
#[derive(Debug, Clone, Default)]
pub struct TradeFilter {
    /// One client's.
    pub client_id: Option<String>,
    /// Of one stock.
    pub ticker: Option<String>,
    /// In one of these states.
    pub states: Vec<TradeState>,
    /// Accepted at or after.
    pub from: Option<DateTime<Utc>>,
    /// Accepted before.
    pub to: Option<DateTime<Utc>>,
}

/// The first id of a moment.
pub(super) fn first_id(at: DateTime<Utc>) -> TradeId {
    TradeId(first_of(at))
}

/// Trades, the last accepted first. The cursor's key is the trade's id.
pub async fn list_trades(
    conn: &mut AsyncPgConnection,
    filter: &TradeFilter,
    request: &PageRequest,
) -> QueryResult<Page<Trade>> {
    let mut query = trades::table.select(Trade::as_select()).into_boxed();
    if let Some(client) = &filter.client_id {
        query = query.filter(trades::client_id.eq(client));
    }
    if let Some(ticker) = &filter.ticker {
        query = query.filter(trades::ticker.eq(ticker));
    }
    // One state as itself: then its partial index serves.
    query = match filter.states.as_slice() {
        [] => query,
        [one] => query.filter(trades::state.eq(one)),
        several => query.filter(trades::state.eq_any(several)),
    };
    if let Some(from) = filter.from {
        query = query.filter(trades::id.ge(first_id(from)));
    }
    if let Some(to) = filter.to {
        query = query.filter(trades::id.lt(first_id(to)));
    }
    let from: Option<TradeId> = request.cursor.as_ref().and_then(|cursor| cursor.single().ok());
    query = match (from, request.upwards()) {
        (Some(id), true) => query.filter(trades::id.gt(id)).order(trades::id.asc()),
        (Some(id), false) => query.filter(trades::id.lt(id)).order(trades::id.desc()),
        (None, _) => query.order(trades::id.desc()),
    };
    let rows = query.limit(request.limit + 1).load(conn).await?;
    Ok(Page::from_rows(rows, request, |trade| vec![trade.id.to_string()]))
}

/// The newest trade whose id ends so, of the latest 100,000: people see only an id's end.
pub async fn find_by_ending(conn: &mut AsyncPgConnection, ending: &str) -> QueryResult<Option<TradeId>> {
    #[derive(QueryableByName)]
    struct IdRow {
        #[diesel(sql_type = Uuid)]
        id: TradeId,
    }
    diesel::sql_query(
        "SELECT id FROM (SELECT id FROM trades ORDER BY id DESC LIMIT 100000) AS latest
         WHERE right(id::text, 8) = $1 ORDER BY id DESC LIMIT 1",
    )
    .bind::<Text, _>(ending)
    .get_result::<IdRow>(conn)
    .await
    .optional()
    .map(|row| row.map(|row| row.id))
}

/// What a client holds or has held, by ticker.
pub async fn list_holdings(conn: &mut AsyncPgConnection, client: &str) -> QueryResult<Vec<Holding>> {
    holdings::table
        .filter(holdings::client_id.eq(client))
        .order(holdings::ticker)
        .select(Holding::as_select())
        .load(conn)
        .await
}

/// A trade about to be written down.
pub(super) struct NewRow<'n> {
    pub id: TradeId,
    pub run_id: RunId,
    pub reversal_of: Option<TradeId>,
    pub client_id: &'n str,
    pub ticker: &'n str,
    pub side: &'static str,
    pub volume: i64,
    pub created_by: &'n str,
}

/// Writes down pending trades; returns them in the order of their ids.
pub(super) async fn insert_trades(
    conn: &mut AsyncPgConnection,
    rows: &[NewRow<'_>],
) -> QueryResult<Vec<Trade>> {
    fn column<'n, T>(rows: &[NewRow<'n>], value: impl Fn(&NewRow<'n>) -> T) -> Vec<T> {
        rows.iter().map(value).collect()
    }
    let mut trades: Vec<Trade> = diesel::sql_query(
        "INSERT INTO trades (id, created_at, run_id, reversal_of, client_id, ticker, side, volume, created_by, state)
         SELECT *, 'pending' FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9)
         RETURNING *",
    )
    .bind::<Array<Uuid>, _>(column(rows, |row| row.id))
    .bind::<Array<Timestamptz>, _>(column(rows, |row| row.id.created_at()))
    .bind::<Array<Uuid>, _>(column(rows, |row| row.run_id))
    .bind::<Array<Nullable<Uuid>>, _>(column(rows, |row| row.reversal_of))
    .bind::<Array<Text>, _>(column(rows, |row| row.client_id))
    .bind::<Array<Text>, _>(column(rows, |row| row.ticker))
    .bind::<Array<Text>, _>(column(rows, |row| row.side))
    .bind::<Array<BigInt>, _>(column(rows, |row| row.volume))
    .bind::<Array<Text>, _>(column(rows, |row| row.created_by))
    .load(conn)
    .await?;
    trades.sort_unstable_by_key(|trade| trade.id);
    Ok(trades)
}
