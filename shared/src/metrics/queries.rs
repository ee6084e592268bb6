//! What gauges are read from. Only statements that indexes answer: completed runs, which are nearly all
//! runs, are never looked at (test: `a_scrape_reads_no_table_of_runs_from_end_to_end`).

use crate::runs::RunState;
use diesel::{
    prelude::*,
    sql_types::{BigInt, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// How many runs of a kind are in a state.
#[derive(Debug, QueryableByName)]
pub struct RunCount {
    /// The kind.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The state.
    #[diesel(sql_type = Text)]
    pub state: RunState,
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
}

/// Counts the runs in every state but completed.
pub async fn count_runs(conn: &mut AsyncPgConnection) -> QueryResult<Vec<RunCount>> {
    // The condition is that of the partial index `runs_state`.
    diesel::sql_query(
        "SELECT kind, state, count(*) AS count FROM runs WHERE state <> 'completed'
         GROUP BY kind, state ORDER BY kind, state",
    )
    .load(conn)
    .await
}

/// Workers by how they are.
#[derive(Debug, QueryableByName)]
pub struct WorkerCounts {
    /// Alive and heard of within their leases.
    #[diesel(sql_type = BigInt)]
    pub alive: i64,
    /// Alive on record, but past their leases.
    #[diesel(sql_type = BigInt)]
    pub silent: i64,
    /// Dead since yesterday.
    #[diesel(sql_type = BigInt)]
    pub dead: i64,
}

/// Counts the workers.
pub async fn count_workers(conn: &mut AsyncPgConnection) -> QueryResult<WorkerCounts> {
    diesel::sql_query(
        "SELECT count(*) FILTER (WHERE state = 'alive' AND NOT is_silent(w)) AS alive,
                count(*) FILTER (WHERE state = 'alive' AND is_silent(w)) AS silent,
                count(*) FILTER (WHERE state = 'dead') AS dead
         FROM workers w WHERE state = 'alive' OR last_seen > now() - interval '1 day'",
    )
    .get_result(conn)
    .await
}

/// What of the notifications needs a look.
#[derive(Debug, QueryableByName)]
pub struct NotificationCounts {
    /// Circuits that are not closed.
    #[diesel(sql_type = BigInt)]
    pub circuits: i64,
    /// Deliveries of which nobody knows whether they were accepted.
    #[diesel(sql_type = BigInt)]
    pub unknown: i64,
}

/// Counts what of the notifications needs a look.
pub async fn count_notifications(conn: &mut AsyncPgConnection) -> QueryResult<NotificationCounts> {
    diesel::sql_query(
        "SELECT (SELECT count(*) FROM circuits
                 WHERE coalesce(forced, state) <> 'closed') AS circuits,
                (SELECT count(*) FROM deliveries WHERE state = 'unknown') AS unknown",
    )
    .get_result(conn)
    .await
}

/// Schedules that need a look.
#[derive(Debug, QueryableByName)]
pub struct ScheduleCounts {
    /// Due for more than a minute.
    #[diesel(sql_type = BigInt)]
    pub overdue: i64,
    /// Alerts that have not ended and that nobody has seen.
    #[diesel(sql_type = BigInt)]
    pub alerts: i64,
}

/// Counts the schedules that need a look.
pub async fn count_schedules(conn: &mut AsyncPgConnection) -> QueryResult<ScheduleCounts> {
    diesel::sql_query(
        "SELECT (SELECT count(*) FROM schedules WHERE next_at < now() - interval '1 minute') AS overdue,
                (SELECT count(*) FROM alerts WHERE resolved_at IS NULL AND acknowledged_at IS NULL) AS alerts",
    )
    .get_result(conn)
    .await
}
