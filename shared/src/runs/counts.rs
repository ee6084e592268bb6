//! How many runs are in each state, without counting a huge table: at most [`CAP`] are counted of each.

use super::{model::RunState, queries::RunFilter};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Bool, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Runs of a state that are counted; beyond, there are "more".
pub const CAP: i64 = 10_000;
/// Where no index helps to count what is completed, so many of the newest runs are looked at.
const NEWEST: i64 = 20_000;

/// How many runs are in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, QueryableByName)]
pub struct StateCount {
    /// The state.
    #[diesel(sql_type = Text)]
    pub state: RunState,
    /// How many were counted.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    /// Whether there may be more.
    #[diesel(sql_type = Bool)]
    pub more: bool,
}

/// The filter's parts but the states, as SQL with one text parameter each.
fn conditions(filter: &RunFilter) -> (String, Vec<String>) {
    let escaped = |text: &String| text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    let parts = [
        ("kind = $", filter.kind.clone()),
        ("queue = $", filter.queue.clone()),
        ("error ILIKE $", filter.error.as_ref().map(|error| format!("%{}%", escaped(error)))),
        ("fingerprint = $", filter.fingerprint.clone()),
    ];
    let ids = [
        ("(id = $ OR flow_id = $ AND flow_id <> id)", filter.flow.map(|id| id.to_string())),
        ("parent_id = $", filter.parent.map(|id| id.to_string())),
        ("worker_id = $", filter.worker.map(|id| id.to_string())),
    ];
    let (mut sql, mut values) = (String::new(), Vec::new());
    for (part, value) in parts {
        let Some(value) = value else { continue };
        values.push(value);
        sql.push_str(&format!(" AND {}", part.replace('$', &format!("${}", values.len()))));
    }
    for (part, value) in ids {
        let Some(value) = value else { continue };
        values.push(value);
        sql.push_str(&format!(" AND {}", part.replace('$', &format!("${}::uuid", values.len()))));
    }
    (sql, values)
}

/// One state's line of the statement. States are words of ours: they are written, not bound, so that
/// partial indexes serve.
fn line(state: RunState, filter: &RunFilter, conditions: &str) -> String {
    let limit = CAP + 1;
    let indexed = filter.kind.is_some() || filter.flow.is_some() || filter.parent.is_some();
    // What is completed is in no index of states, and a queue alone is in none at all.
    let (from, surely) = if state == RunState::Completed && filter.queue.is_some() && !indexed {
        let newest = format!("(SELECT state, queue FROM runs ORDER BY id DESC LIMIT {NEWEST}) AS newest");
        (
            newest,
            format!("(SELECT count(*) FROM (SELECT 1 FROM runs LIMIT {NEWEST} + 1) AS all_runs) <= {NEWEST}"),
        )
    } else {
        ("runs".to_owned(), "true".to_owned())
    };
    format!(
        "SELECT '{state}' AS state, least(count(*), {CAP}) AS count, NOT (count(*) <= {CAP} AND {surely}) AS more
         FROM (SELECT 1 FROM {from} WHERE state = '{state}'{conditions} LIMIT {limit}) AS found"
    )
}

/// How many runs are in each state, of those that the filter's other parts let through. States without
/// any are left out.
pub async fn count_by_state(
    conn: &mut AsyncPgConnection,
    filter: &RunFilter,
) -> QueryResult<Vec<StateCount>> {
    let possible = |state: RunState| match state {
        // Only what runs has a worker; what is completed has no error.
        RunState::Running => true,
        RunState::Completed if filter.error.is_some() || filter.fingerprint.is_some() => false,
        _ => filter.worker.is_none(),
    };
    let (conditions, values) = conditions(filter);
    let lines: Vec<String> = RunState::ALL
        .iter()
        .filter(|&&state| possible(state))
        .map(|&state| line(state, filter, &conditions))
        .collect();
    let mut query = diesel::sql_query(lines.join(" UNION ALL ")).into_boxed();
    for value in values {
        query = query.bind::<Text, _>(value);
    }
    let mut counts: Vec<StateCount> = query.load(conn).await?;
    counts.retain(|count| count.count > 0);
    counts.sort_unstable();
    Ok(counts)
}
