//! How the engine as a whole is doing, for the overview and for the signal that refreshes pages.
//! Every statement reads live runs through partial or state indexes: none grows with history, save
//! by what failed within the hour.

use crate::{fixed::Fixed, ids::RunId};
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{BigInt, Nullable, Text, Timestamptz, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Figures of this moment.
#[derive(Debug, Clone, QueryableByName)]
pub struct Pulse {
    /// Runs that a worker holds.
    #[diesel(sql_type = BigInt)]
    pub running: i64,
    /// Runs that could be claimed now.
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    /// How long the first of them has waited.
    #[diesel(sql_type = BigInt)]
    pub longest_wait_ms: i64,
    /// Runs that wait for their next attempt.
    #[diesel(sql_type = BigInt)]
    pub retrying: i64,
    /// Runs that wait for their time.
    #[diesel(sql_type = BigInt)]
    pub scheduled: i64,
    /// Runs that ended badly within the hour, without those that only failed by a step of theirs.
    #[diesel(sql_type = BigInt)]
    pub failed_lately: i64,
    /// Workers heard of within their leases.
    #[diesel(sql_type = BigInt)]
    pub workers: i64,
    /// Workers that are thought alive but have been silent for longer.
    #[diesel(sql_type = BigInt)]
    pub silent_workers: i64,
    /// Uploads on their way.
    #[diesel(sql_type = BigInt)]
    pub uploads_in_progress: i64,
}

/// How the engine is doing now.
pub async fn pulse(conn: &mut AsyncPgConnection) -> QueryResult<Pulse> {
    diesel::sql_query(
        "SELECT (SELECT count(*) FROM runs WHERE state = 'running') AS running,
                (SELECT count(*) FROM runs WHERE state = 'available' AND run_at <= now()) AS waiting,
                (SELECT coalesce(1000 * extract(epoch FROM now() - min(run_at)), 0)::bigint
                 FROM runs WHERE state = 'available' AND run_at <= now()) AS longest_wait_ms,
                (SELECT count(*) FROM runs WHERE state = 'retryable') AS retrying,
                (SELECT count(*) FROM runs WHERE state = 'scheduled') AS scheduled,
                (SELECT count(*) FROM runs WHERE state IN ('failed', 'discarded')
                     AND finished_at > now() - interval '1 hour'
                     AND reason IS DISTINCT FROM 'child_failed') AS failed_lately,
                (SELECT count(*) FROM workers w WHERE state = 'alive' AND NOT is_silent(w)) AS workers,
                (SELECT count(*) FROM workers w WHERE state = 'alive' AND is_silent(w)) AS silent_workers,
                (SELECT count(*) FROM uploads
                 WHERE state IN ('received', 'planning', 'loading')) AS uploads_in_progress",
    )
    .get_result(conn)
    .await
}

/// What asks for attention, for the navigation of every page.
#[derive(Debug, Clone, QueryableByName)]
pub struct Attention {
    /// Uploads on their way.
    #[diesel(sql_type = BigInt)]
    pub uploads_in_progress: i64,
    /// Runs that ended badly within the hour.
    #[diesel(sql_type = BigInt)]
    pub failed_lately: i64,
    /// Alerts that nobody has seen and that have not ended.
    #[diesel(sql_type = BigInt)]
    pub alerts: i64,
    /// Deliveries that somebody has to decide about, and circuits through which nothing goes.
    #[diesel(sql_type = BigInt)]
    pub notifications: i64,
}

/// What asks for attention now.
pub async fn attention(conn: &mut AsyncPgConnection) -> QueryResult<Attention> {
    let sql = "SELECT (SELECT count(*) FROM uploads
                 WHERE state IN ('received', 'planning', 'loading')) AS uploads_in_progress,
                (SELECT count(*) FROM runs WHERE state IN ('failed', 'discarded')
                     AND finished_at > now() - interval '1 hour'
                     AND reason IS DISTINCT FROM 'child_failed') AS failed_lately,
                (SELECT count(*) FROM alerts
                     WHERE resolved_at IS NULL AND acknowledged_at IS NULL) AS alerts,
                (SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE state = 'unknown' LIMIT 1000) AS unknown)
                + (SELECT count(*) FROM circuits WHERE state <> 'closed' OR forced = 'open') AS notifications";
    Fixed(diesel::sql_query(sql)).get_result(conn).await
}

/// Failures that are alike.
#[derive(Debug, Clone, QueryableByName)]
pub struct FailureGroup {
    /// The kind that failed.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The group's fingerprint, if it has one.
    #[diesel(sql_type = Nullable<Text>)]
    pub fingerprint: Option<String>,
    /// The latest error of the group.
    #[diesel(sql_type = Nullable<Text>)]
    pub error: Option<String>,
    /// How many runs.
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    /// When the latest of them failed.
    #[diesel(sql_type = Timestamptz)]
    pub last_at: DateTime<Utc>,
    /// The latest of them.
    #[diesel(sql_type = Uuid)]
    pub last_run: RunId,
}

/// What failed within the hour, like by like, most first. A parent that failed by a step of its is
/// not named: the step is.
pub async fn failures_lately(conn: &mut AsyncPgConnection, limit: i64) -> QueryResult<Vec<FailureGroup>> {
    diesel::sql_query(
        "SELECT kind, max(fingerprint) AS fingerprint, (array_agg(error ORDER BY finished_at DESC))[1] AS error, count(*) AS count,
                max(finished_at) AS last_at, (array_agg(id ORDER BY finished_at DESC))[1] AS last_run
         FROM runs
         WHERE state IN ('failed', 'discarded') AND finished_at > now() - interval '1 hour'
           AND reason IS DISTINCT FROM 'child_failed'
         GROUP BY kind, coalesce(fingerprint, error)
         ORDER BY count(*) DESC, max(finished_at) DESC LIMIT $1",
    )
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await
}

#[derive(QueryableByName)]
struct FingerprintRow {
    #[diesel(sql_type = Text)]
    fingerprint: String,
}

/// Differs whenever something that pages show about runs, uploads or workers has changed, and costs
/// little: the waiting are counted, the running looked at, of what has ended only the newest id. A run
/// that ends was counted among the others just before.
pub async fn fingerprint(conn: &mut AsyncPgConnection) -> QueryResult<String> {
    diesel::sql_query(
        "SELECT concat_ws('/',
             (SELECT id FROM runs ORDER BY id DESC LIMIT 1),
             (SELECT id FROM uploads ORDER BY id DESC LIMIT 1),
             (SELECT max(id) FROM run_logs),
             (SELECT string_agg(state || n, ' ' ORDER BY state) FROM (
                  SELECT state, count(*) AS n FROM runs
                  WHERE state IN ('available', 'scheduled', 'blocked', 'retryable') GROUP BY state) AS waiting),
             (SELECT md5(string_agg(concat_ws(' ', id, attempt, progress_done, progress_total, phase,
                  cancel_requested), ' ' ORDER BY id)) FROM runs WHERE state = 'running'),
             (SELECT string_agg(state || n, ' ' ORDER BY state) FROM (
                  SELECT state, count(*) AS n FROM uploads
                  WHERE state IN ('received', 'planning', 'loading') GROUP BY state) AS uploading),
             (SELECT string_agg(concat(id, is_silent(w)), ' ' ORDER BY id)
              FROM workers w WHERE state = 'alive'),
             (SELECT string_agg(concat(queue, max_running), ' ' ORDER BY queue) FROM queue_limits),
             (SELECT string_agg(concat(target, name, until, coalesce(until > now(), true)), ' ' ORDER BY target, name)
              FROM pauses),
             (SELECT concat(count(*), max(changed_at)) FROM circuits),
             (SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE state = 'unknown' LIMIT 1000) AS unknown)) AS fingerprint",
    )
    .get_result::<FingerprintRow>(conn)
    .await
    .map(|row| row.fingerprint)
}

/// When steps of a flow began and ended.
#[derive(Debug, Clone, QueryableByName)]
pub struct StepSpan {
    /// When the first began.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub started_at: Option<DateTime<Utc>>,
    /// When the last that has ended did.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub finished_at: Option<DateTime<Utc>>,
}

/// When the steps of this kind that a run waits for began and ended.
pub async fn step_span(conn: &mut AsyncPgConnection, parent: RunId, kind: &str) -> QueryResult<StepSpan> {
    diesel::sql_query(
        "SELECT min(started_at) AS started_at, max(finished_at) AS finished_at
         FROM runs WHERE parent_id = $1 AND kind = $2",
    )
    .bind::<Uuid, _>(parent)
    .bind::<Text, _>(kind)
    .get_result(conn)
    .await
}
