//! Statements about runs. Those that move a run's state are SQL functions (migration `runs`) or the
//! `.sql` files beside this one.

use super::model::{Run, RunAttempt, RunLog, RunState};
use crate::{
    ids::{ClaimToken, RunId, WorkerId},
    pagination::{Page, PageRequest},
    schema::{run_attempts, run_logs, runs},
};
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Integer, Jsonb, Text, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A run as its claimer gets it.
#[derive(Debug, Clone, QueryableByName)]
pub struct ClaimedRun {
    /// The run.
    #[diesel(sql_type = Uuid)]
    pub id: RunId,
    /// Its kind.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// Its arguments.
    #[diesel(sql_type = Jsonb)]
    pub args: serde_json::Value,
    /// The attempt that begins.
    #[diesel(sql_type = Integer)]
    pub attempt: i32,
    /// Attempts it may have.
    #[diesel(sql_type = Integer)]
    pub max_attempts: i32,
    /// The fence.
    #[diesel(sql_type = Uuid)]
    pub claim_token: ClaimToken,
    /// The run that waits for it.
    #[diesel(sql_type = diesel::sql_types::Nullable<Uuid>)]
    pub parent_id: Option<RunId>,
    /// The root of its flow.
    #[diesel(sql_type = Uuid)]
    pub flow_id: RunId,
    /// Since it became due.
    #[diesel(sql_type = BigInt)]
    pub waited_ms: i64,
    /// Since its first attempt began.
    #[diesel(sql_type = BigInt)]
    pub trying_ms: i64,
}

/// Takes up to `limit` runs of a queue for a living worker and opens their attempts. `external` are
/// those of `kinds` that have effects outside the database. A crash before the commit leaves them
/// available; after it, claimed, to be rescued.
pub async fn claim_runs(
    conn: &mut AsyncPgConnection,
    queue: &str,
    worker: WorkerId,
    limit: i32,
    kinds: &[&str],
    external: &[&str],
) -> QueryResult<Vec<ClaimedRun>> {
    diesel::sql_query("SELECT * FROM claim_runs($1, $2, $3, $4, $5)")
        .bind::<Text, _>(queue)
        .bind::<Uuid, _>(worker)
        .bind::<Integer, _>(limit)
        .bind::<Array<Text>, _>(kinds)
        .bind::<Array<Text>, _>(external)
        .load(conn)
        .await
}

/// The run that holds a unique key.
pub async fn holder(conn: &mut AsyncPgConnection, key: &str) -> QueryResult<Option<RunId>> {
    let held = runs::table.filter(runs::unique_key.eq(key).and(runs::unique_held));
    held.select(runs::id).first(conn).await.optional()
}

/// The run that holds the unique key of this one.
pub async fn holder_beside(conn: &mut AsyncPgConnection, run: RunId) -> QueryResult<Option<RunId>> {
    let key: Option<String> = runs::table.find(run).select(runs::unique_key).first(conn).await?;
    match key {
        Some(key) => holder(conn, &key).await,
        None => Ok(None),
    }
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = Uuid)]
    id: RunId,
}

/// A run whose attempt was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct ClosedRun {
    /// The run.
    #[diesel(sql_type = Uuid)]
    pub id: RunId,
    /// Where it stands now.
    #[diesel(sql_type = Text)]
    pub state: RunState,
}

/// Ends attempts by the SQL function `close_runs`, which documents the JSON array `closings`; returns the
/// runs whose fence held.
pub async fn close_runs(
    conn: &mut AsyncPgConnection,
    closings: &serde_json::Value,
) -> QueryResult<Vec<ClosedRun>> {
    diesel::sql_query("SELECT id, state FROM close_runs($1)").bind::<Jsonb, _>(closings).load(conn).await
}

/// Runs that are released by one statement.
const RELEASED_AT_ONCE: usize = 5000;

/// Lets the runs whose time has come be claimed.
pub async fn release_due(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    loop {
        let released = diesel::sql_query(
            "UPDATE runs SET state = 'available', reason = NULL WHERE id IN (
                 SELECT id FROM runs WHERE state IN ('scheduled', 'retryable') AND run_at <= now()
                 ORDER BY run_at LIMIT $1 FOR UPDATE SKIP LOCKED)",
        )
        .bind::<BigInt, _>(RELEASED_AT_ONCE as i64)
        .execute(conn)
        .await?;
        if released < RELEASED_AT_ONCE {
            return Ok(());
        }
    }
}

/// Discards what waited longer than it was worth waiting for, 500 at a time.
pub async fn expire(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    #[derive(QueryableByName)]
    struct Expired {
        #[diesel(sql_type = Integer)]
        expired: i32,
    }
    loop {
        let done: Expired = diesel::sql_query("SELECT expire_runs() AS expired").get_result(conn).await?;
        if done.expired < 500 {
            return Ok(());
        }
    }
}

/// How many runs of a queue could be claimed now (counted up to 100).
pub async fn claimable(conn: &mut AsyncPgConnection, queue: &str) -> QueryResult<i64> {
    runs::table
        .filter(runs::queue.eq(queue).and(runs::state.eq(RunState::Available)))
        .filter(runs::run_at.le(diesel::dsl::now))
        .select(runs::id)
        .limit(100)
        .load::<RunId>(conn)
        .await
        .map(|ids| ids.len() as i64)
}

/// Shows progress on a run that is still held by `token`.
pub async fn set_progress(
    conn: &mut AsyncPgConnection,
    run: RunId,
    token: ClaimToken,
    done: i64,
    total: Option<i64>,
    unit: &str,
    phase: &str,
) -> QueryResult<()> {
    diesel::update(runs::table.filter(runs::id.eq(run).and(runs::claim_token.eq(token))))
        .set((
            runs::progress_done.eq(done),
            runs::progress_total.eq(total),
            runs::progress_unit.eq(unit),
            runs::phase.eq(phase),
        ))
        .execute(conn)
        .await
        .map(|_| ())
}

/// Leaves a result on a run that is still held by `token`.
pub async fn set_result(
    conn: &mut AsyncPgConnection,
    run: RunId,
    token: ClaimToken,
    result: &serde_json::Value,
) -> QueryResult<()> {
    diesel::update(runs::table.filter(runs::id.eq(run).and(runs::claim_token.eq(token))))
        .set(runs::result.eq(result))
        .execute(conn)
        .await
        .map(drop)
}

/// One run.
pub async fn find_run(conn: &mut AsyncPgConnection, id: RunId) -> QueryResult<Option<Run>> {
    runs::table.find(id).select(Run::as_select()).first(conn).await.optional()
}

/// The newest run whose id ends so, of the latest 100,000: people see only an id's end.
pub async fn find_by_ending(conn: &mut AsyncPgConnection, ending: &str) -> QueryResult<Option<RunId>> {
    diesel::sql_query(
        "SELECT id FROM (SELECT id FROM runs ORDER BY id DESC LIMIT 100000) AS latest
         WHERE right(id::text, 8) = $1 ORDER BY id DESC LIMIT 1",
    )
    .bind::<Text, _>(ending)
    .get_result::<IdRow>(conn)
    .await
    .optional()
    .map(|row| row.map(|row| row.id))
}

/// What a list of runs is narrowed to; also what a bulk action is applied to.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunFilter {
    /// Any of these states; all if empty.
    pub states: Vec<RunState>,
    /// Only this kind.
    pub kind: Option<String>,
    /// Only this queue.
    pub queue: Option<String>,
    /// Only this flow.
    pub flow: Option<RunId>,
    /// Only children of this run.
    pub parent: Option<RunId>,
    /// Only runs whose error holds this text.
    pub error: Option<String>,
    /// Only runs that failed alike.
    pub fingerprint: Option<String>,
    /// Only runs that this worker holds.
    pub worker: Option<WorkerId>,
}

macro_rules! filtered {
    ($query:expr, $filter:expr) => {{
        let filter: &RunFilter = $filter;
        let mut query = $query;
        if let Some(kind) = &filter.kind {
            query = query.filter(runs::kind.eq(kind.clone()));
        }
        if let Some(queue) = &filter.queue {
            query = query.filter(runs::queue.eq(queue.clone()));
        }
        if let Some(flow) = filter.flow {
            // As the index of flows has it: only steps of others.
            let step = runs::flow_id.eq(flow).and(runs::flow_id.ne(runs::id));
            query = query.filter(runs::id.eq(flow).or(step));
        }
        if let Some(parent) = filter.parent {
            query = query.filter(runs::parent_id.eq(parent));
        }
        // What is completed has no error, and only what runs has a worker: partial indexes serve, if
        // the statement says so in words that are not bound.
        if filter.fingerprint.is_some() || filter.error.is_some() {
            query = query.filter(diesel::dsl::sql::<diesel::sql_types::Bool>("runs.state <> 'completed'"));
        }
        if let Some(fingerprint) = &filter.fingerprint {
            query = query.filter(runs::fingerprint.eq(fingerprint.clone()));
        }
        if let Some(worker) = filter.worker {
            query = query.filter(runs::worker_id.eq(worker));
            query = query.filter(diesel::dsl::sql::<diesel::sql_types::Bool>("runs.state = 'running'"));
        }
        if let Some(text) = &filter.error {
            let pattern = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            query = query.filter(runs::error.ilike(format!("%{pattern}%")));
        }
        query
    }};
}

/// Runs, newest first. The cursor's key is the run's id.
pub async fn list_runs(
    conn: &mut AsyncPgConnection,
    filter: &RunFilter,
    request: &PageRequest,
) -> QueryResult<Page<Run>> {
    let mut query = filtered!(runs::table.select(Run::as_select()).into_boxed(), filter);
    if !filter.states.is_empty() {
        query = query.filter(runs::state.eq_any(filter.states.clone()));
    }
    let from: Option<RunId> = request.cursor.as_ref().and_then(|cursor| cursor.single().ok());
    query = match (from, request.upwards()) {
        (Some(id), true) => query.filter(runs::id.gt(id)).order(runs::id.asc()),
        (Some(id), false) => query.filter(runs::id.lt(id)).order(runs::id.desc()),
        (None, _) => query.order(runs::id.desc()),
    };
    let rows = query.limit(request.limit + 1).load(conn).await?;
    Ok(Page::from_rows(rows, request, |run| vec![run.id.to_string()]))
}

/// Ids of runs that a filter lets through and that ended before `ended_before` (any that have not ended,
/// if it is absent), after `after`, oldest first.
pub async fn matching(
    conn: &mut AsyncPgConnection,
    filter: &RunFilter,
    ended_before: Option<DateTime<Utc>>,
    after: RunId,
    limit: i64,
) -> QueryResult<Vec<RunId>> {
    let query = selected(filter, ended_before).filter(runs::id.gt(after));
    query.order(runs::id).limit(limit).select(runs::id).load(conn).await
}

/// How many runs [`matching`] would go through.
pub async fn count_matching(
    conn: &mut AsyncPgConnection,
    filter: &RunFilter,
    ended_before: Option<DateTime<Utc>>,
) -> QueryResult<i64> {
    selected(filter, ended_before).count().get_result(conn).await
}

/// How many of these runs an action would change: of those that have ended badly before `ended_before`,
/// or, if it is absent, of those that have not ended.
pub async fn count_changeable(
    conn: &mut AsyncPgConnection,
    ids: &[RunId],
    ended_before: Option<DateTime<Utc>>,
) -> QueryResult<i64> {
    selected(&RunFilter::default(), ended_before).filter(runs::id.eq_any(ids)).count().get_result(conn).await
}

fn selected(
    filter: &RunFilter,
    ended_before: Option<DateTime<Utc>>,
) -> runs::BoxedQuery<'static, diesel::pg::Pg> {
    let mut query = filtered!(runs::table.into_boxed(), filter);
    if !filter.states.is_empty() {
        query = query.filter(runs::state.eq_any(filter.states.clone()));
    }
    match ended_before {
        Some(time) => query
            .filter(runs::state.eq_any([RunState::Failed, RunState::Discarded, RunState::Cancelled]))
            .filter(runs::finished_at.lt(time)),
        None => query.filter(runs::finished_at.is_null()),
    }
}

/// The kinds that have runs.
pub async fn kinds(conn: &mut AsyncPgConnection) -> QueryResult<Vec<String>> {
    #[derive(QueryableByName)]
    struct KindRow {
        #[diesel(sql_type = Text)]
        kind: String,
    }
    // Jumps along the index from kind to kind: there are few kinds and many runs.
    let rows: Vec<KindRow> = diesel::sql_query(
        "WITH RECURSIVE k AS (
             (SELECT kind FROM runs ORDER BY kind LIMIT 1)
             UNION ALL
             SELECT (SELECT r.kind FROM runs r WHERE r.kind > k.kind ORDER BY r.kind LIMIT 1)
             FROM k WHERE k.kind IS NOT NULL)
         SELECT kind FROM k WHERE kind IS NOT NULL",
    )
    .load(conn)
    .await?;
    Ok(rows.into_iter().map(|row| row.kind).collect())
}

/// A run's attempts, first to last.
pub async fn attempts(conn: &mut AsyncPgConnection, run: RunId) -> QueryResult<Vec<RunAttempt>> {
    run_attempts::table
        .filter(run_attempts::run_id.eq(run))
        .order(run_attempts::attempt)
        .select(RunAttempt::as_select())
        .load(conn)
        .await
}

/// A run's log lines after line `after`, at most `limit`.
pub async fn logs(
    conn: &mut AsyncPgConnection,
    run: RunId,
    after: i64,
    limit: i64,
) -> QueryResult<Vec<RunLog>> {
    run_logs::table
        .filter(run_logs::run_id.eq(run).and(run_logs::id.gt(after)))
        .order(run_logs::id)
        .limit(limit)
        .select(RunLog::as_select())
        .load(conn)
        .await
}

/// A run's children, in the order of their creation, at most `limit`.
pub async fn children(conn: &mut AsyncPgConnection, run: RunId, limit: i64) -> QueryResult<Vec<Run>> {
    runs::table
        .filter(runs::parent_id.eq(run))
        .order(runs::id)
        .limit(limit)
        .select(Run::as_select())
        .load(conn)
        .await
}

/// A run's children, those first that failed, then those that run, those that wait, those that are
/// done; at most `limit`.
pub async fn notable_children(conn: &mut AsyncPgConnection, run: RunId, limit: i64) -> QueryResult<Vec<Run>> {
    // Only ids are sorted: of 10,000 children, `limit` rows are read whole.
    diesel::sql_query(
        "SELECT r.* FROM runs r JOIN (
             SELECT id, array_position('{failed,discarded,retryable,running,available,scheduled,blocked,cancelled}'::text[],
                                       state) AS place
             FROM runs WHERE parent_id = $1 ORDER BY place NULLS LAST, id LIMIT $2) AS first USING (id)
         ORDER BY first.place NULLS LAST, r.id",
    )
    .bind::<Uuid, _>(run)
    .bind::<BigInt, _>(limit)
    .load(conn)
    .await
}

/// Log lines of an attempt that are not kept.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct DroppedLines {
    /// The attempt.
    #[diesel(sql_type = Integer)]
    pub attempt: i32,
    /// How many, its oldest.
    #[diesel(sql_type = BigInt)]
    pub lines: i64,
}

/// How many log lines of each attempt were dropped: the gaps in their numbers. Attempts that have all
/// of theirs are left out.
pub async fn dropped_lines(conn: &mut AsyncPgConnection, run: RunId) -> QueryResult<Vec<DroppedLines>> {
    diesel::sql_query(
        "SELECT attempt, max(line) - count(*) AS lines FROM run_logs WHERE run_id = $1
         GROUP BY attempt HAVING max(line) > count(*) ORDER BY attempt",
    )
    .bind::<Uuid, _>(run)
    .load(conn)
    .await
}

/// The database's time: what runs ended before or after is told by it.
pub async fn database_time(conn: &mut AsyncPgConnection) -> QueryResult<DateTime<Utc>> {
    diesel::select(diesel::dsl::sql::<diesel::sql_types::Timestamptz>("clock_timestamp()"))
        .get_result(conn)
        .await
}

/// What pruning one window did.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct PrunedWindow {
    /// Where the next begins; `None` at the end.
    #[diesel(sql_type = diesel::sql_types::Nullable<Uuid>)]
    pub next_after: Option<RunId>,
    /// Runs that were deleted.
    #[diesel(sql_type = BigInt)]
    pub deleted: i64,
}

/// Deletes the old flows among the next 1,000 runs after `after`: those that completed (or were cancelled)
/// before `completed`, and those that failed before `failed`.
pub async fn prune(
    conn: &mut AsyncPgConnection,
    after: RunId,
    completed: DateTime<Utc>,
    failed: DateTime<Utc>,
) -> QueryResult<PrunedWindow> {
    use diesel::sql_types::Timestamptz;
    diesel::sql_query("SELECT next_after, deleted FROM prune_runs($1, 1000, $2, $3)")
        .bind::<Uuid, _>(after)
        .bind::<Timestamptz, _>(completed)
        .bind::<Timestamptz, _>(failed)
        .get_result(conn)
        .await
}
