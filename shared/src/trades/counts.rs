//! How many trades are in each state, without counting a huge table: at most [`CAP`] are counted of each.

use super::{
    model::TradeState,
    queries::{TradeFilter, first_id},
};
use crate::ids::TradeId;
use diesel::{
    prelude::*,
    sql_types::{BigInt, Text, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Trades of a state that are counted; beyond, there are "more".
pub const CAP: i64 = 10_000;

/// How many trades are in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct StateCount {
    /// The state.
    #[diesel(sql_type = Text)]
    pub state: TradeState,
    /// How many were counted, at most one more than [`CAP`].
    #[diesel(sql_type = BigInt)]
    counted: i64,
}

impl StateCount {
    /// How many, at most [`CAP`].
    pub fn count(&self) -> i64 {
        self.counted.min(CAP)
    }

    /// Whether there are more.
    pub fn has_more(&self) -> bool {
        self.counted > CAP
    }
}

/// How many trades are in each state, of those that the filter's other parts let through.
pub async fn count_by_state(
    conn: &mut AsyncPgConnection,
    filter: &TradeFilter,
) -> QueryResult<Vec<StateCount>> {
    let texts: Vec<(&str, &String)> = [("client_id", &filter.client_id), ("ticker", &filter.ticker)]
        .into_iter()
        .filter_map(|(column, value)| value.as_ref().map(|value| (column, value)))
        .collect();
    let ids: Vec<(&str, TradeId)> = [(">=", filter.from), ("<", filter.to)]
        .into_iter()
        .filter_map(|(relation, at)| at.map(|at| (relation, first_id(at))))
        .collect();
    let mut conditions = String::new();
    for (at, (column, _)) in texts.iter().enumerate() {
        conditions.push_str(&format!(" AND {column} = ${}", at + 1));
    }
    for (at, (relation, _)) in ids.iter().enumerate() {
        conditions.push_str(&format!(" AND id {relation} ${}", texts.len() + at + 1));
    }
    // States are words of ours: they are written, not bound, so that their partial index serves.
    let lines: Vec<String> = TradeState::ALL
        .iter()
        .map(|state| {
            format!(
                "SELECT '{state}' AS state, count(*) AS counted
                 FROM (SELECT 1 FROM trades WHERE state = '{state}'{conditions} LIMIT {CAP} + 1) AS found"
            )
        })
        .collect();
    let mut query = diesel::sql_query(lines.join(" UNION ALL ")).into_boxed();
    for (_, text) in texts {
        query = query.bind::<Text, _>(text.clone());
    }
    for (_, id) in ids {
        query = query.bind::<Uuid, _>(id);
    }
    query.load(conn).await
}
