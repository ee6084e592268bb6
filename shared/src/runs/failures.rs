//! Failures, like by like. A fingerprint stands for a kind and its error without what differs from run
//! to run.

use crate::ids::RunId;
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Failed attempts that are alike.
#[derive(Debug, Clone, QueryableByName)]
pub struct FailureGroup {
    /// Stands for kind and message.
    #[diesel(sql_type = Text)]
    pub fingerprint: String,
    /// The kind that fails.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The error without what differs from run to run.
    #[diesel(sql_type = Text)]
    pub message: String,
    /// The error of the latest run that ended so, whole.
    #[diesel(sql_type = Nullable<Text>)]
    pub error: Option<String>,
    /// Failed attempts, ever.
    #[diesel(sql_type = BigInt)]
    pub occurrences: i64,
    /// Runs that ended so and were not retried: these can be.
    #[diesel(sql_type = BigInt)]
    pub failed_runs: i64,
    /// Runs that will try again.
    #[diesel(sql_type = BigInt)]
    pub retrying_runs: i64,
    /// First seen.
    #[diesel(sql_type = Timestamptz)]
    pub first_seen: DateTime<Utc>,
    /// Last seen.
    #[diesel(sql_type = Timestamptz)]
    pub last_seen: DateTime<Utc>,
    /// The latest of them; may have been pruned.
    #[diesel(sql_type = Uuid)]
    pub last_run_id: RunId,
}

const GROUPS: &str = "SELECT f.fingerprint, f.kind, f.message, f.occurrences, f.first_seen, f.last_seen, f.last_run_id,
        (SELECT r.error FROM runs r WHERE r.id = f.last_run_id) AS error,
        (SELECT count(*) FROM runs r WHERE r.fingerprint = f.fingerprint AND r.state IN ('failed', 'discarded'))
            AS failed_runs,
        (SELECT count(*) FROM runs r WHERE r.fingerprint = f.fingerprint AND r.state = 'retryable') AS retrying_runs
    FROM failures f";

/// The groups, last seen first; before `before` if it is given.
pub async fn groups(
    conn: &mut AsyncPgConnection,
    before: Option<(DateTime<Utc>, String)>,
    limit: i64,
) -> QueryResult<Vec<FailureGroup>> {
    let (time, fingerprint) = before.unzip();
    diesel::sql_query(format!(
        "{GROUPS} WHERE $1 IS NULL OR (f.last_seen, f.fingerprint) < ($1, $2)
         ORDER BY f.last_seen DESC, f.fingerprint DESC LIMIT $3"
    ))
    .bind::<Nullable<Timestamptz>, _>(time)
    .bind::<Nullable<Text>, _>(fingerprint)
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await
}

/// One group.
pub async fn find(conn: &mut AsyncPgConnection, fingerprint: &str) -> QueryResult<Option<FailureGroup>> {
    diesel::sql_query(format!("{GROUPS} WHERE f.fingerprint = $1"))
        .bind::<Text, _>(fingerprint)
        .get_result(conn)
        .await
        .optional()
}
