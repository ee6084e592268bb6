//! Statements about runs. Those that move a run's state are SQL functions (migration `runs`) or the
//! `.sql` files beside this one.

use super::model::{Run, RunAttempt, RunLog, RunState, Worker};
use crate::{
    ids::{ClaimToken, RunId, WorkerId},
    pagination::{Page, PageRequest},
    schema::{run_attempts, run_logs, runs, workers},
};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Double, Integer, Jsonb, Text, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

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
}

/// Takes up to `limit` runs of a queue for a living worker and opens their attempts. A crash before
/// the commit leaves them available; after it, claimed, to be rescued.
pub async fn claim_runs(
    conn: &mut AsyncPgConnection,
    queue: &str,
    worker: WorkerId,
    limit: i64,
    kinds: &[&str],
) -> QueryResult<Vec<ClaimedRun>> {
    diesel::sql_query(include_str!("claim.sql"))
        .bind::<Text, _>(queue)
        .bind::<Uuid, _>(worker)
        .bind::<BigInt, _>(limit)
        .bind::<Array<Text>, _>(kinds)
        .load(conn)
        .await
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = Uuid)]
    id: RunId,
}

/// Ends attempts by [`close_runs`](../../../migrations); returns the runs whose fence held.
/// `closings` is the JSON array that the SQL function documents.
pub async fn close_runs(
    conn: &mut AsyncPgConnection,
    closings: &serde_json::Value,
) -> QueryResult<Vec<RunId>> {
    let rows: Vec<IdRow> = diesel::sql_query("SELECT close_runs AS id FROM close_runs($1)")
        .bind::<Jsonb, _>(closings)
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Lets the runs whose time has come be claimed; returns how many.
pub async fn release_due(conn: &mut AsyncPgConnection) -> QueryResult<usize> {
    diesel::sql_query(
        "UPDATE runs SET state = 'available', reason = NULL WHERE id IN (
             SELECT id FROM runs WHERE state IN ('scheduled', 'retryable') AND run_at <= now()
             ORDER BY run_at LIMIT 1000 FOR UPDATE SKIP LOCKED)",
    )
    .execute(conn)
    .await
}

/// A run that its worker holds, as the record has it.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct HeldRun {
    /// The run.
    #[diesel(sql_type = Uuid)]
    pub id: RunId,
    /// The claim.
    #[diesel(sql_type = Uuid)]
    pub claim_token: ClaimToken,
    /// Whether it is asked to stop.
    #[diesel(sql_type = diesel::sql_types::Bool)]
    pub cancel_requested: bool,
}

/// The runs that a worker holds.
pub async fn held_by(conn: &mut AsyncPgConnection, worker: WorkerId) -> QueryResult<Vec<HeldRun>> {
    diesel::sql_query(
        "SELECT id, claim_token, cancel_requested FROM runs WHERE worker_id = $1 AND state = 'running'",
    )
    .bind::<Uuid, _>(worker)
    .load(conn)
    .await
}

/// The runs whose worker is dead or gone, at most 500.
pub async fn orphaned(conn: &mut AsyncPgConnection) -> QueryResult<Vec<HeldRun>> {
    diesel::sql_query(
        "SELECT r.id, r.claim_token, r.cancel_requested FROM runs r JOIN workers w ON w.id = r.worker_id
         WHERE r.state = 'running' AND w.state <> 'alive' ORDER BY r.id LIMIT 500",
    )
    .load(conn)
    .await
}

/// Records the start of a worker.
pub async fn register_worker(
    conn: &mut AsyncPgConnection,
    id: WorkerId,
    host: &str,
    version: &str,
) -> QueryResult<()> {
    diesel::insert_into(workers::table)
        .values((
            workers::id.eq(id),
            workers::host.eq(host),
            workers::pid.eq(std::process::id().cast_signed()),
            workers::version.eq(version),
        ))
        .execute(conn)
        .await
        .map(|_| ())
}

/// Renews a worker's lease; false if it has been declared dead.
pub async fn heartbeat(conn: &mut AsyncPgConnection, id: WorkerId) -> QueryResult<bool> {
    diesel::update(workers::table.filter(workers::id.eq(id).and(workers::state.eq("alive"))))
        .set(workers::last_seen.eq(diesel::dsl::now))
        .execute(conn)
        .await
        .map(|rows| rows == 1)
}

/// Records that a worker stopped in order.
pub async fn stop_worker(conn: &mut AsyncPgConnection, id: WorkerId) -> QueryResult<()> {
    diesel::update(workers::table.filter(workers::id.eq(id).and(workers::state.eq("alive"))))
        .set(workers::state.eq("stopped"))
        .execute(conn)
        .await
        .map(|_| ())
}

/// Declares the workers dead that were silent for longer than the lease, and ends their connections:
/// a frozen one would keep its locks. Returns them.
pub async fn bury_silent_workers(
    conn: &mut AsyncPgConnection,
    lease: std::time::Duration,
) -> QueryResult<Vec<WorkerId>> {
    #[derive(QueryableByName)]
    struct Dead {
        #[diesel(sql_type = Uuid)]
        id: WorkerId,
    }
    let dead: Vec<Dead> = diesel::sql_query(
        "UPDATE workers SET state = 'dead' WHERE id IN (
             SELECT id FROM workers WHERE state = 'alive' AND last_seen < now() - $1 * interval '1 second'
             ORDER BY id FOR UPDATE SKIP LOCKED)
         RETURNING id",
    )
    .bind::<Double, _>(lease.as_secs_f64())
    .load(conn)
    .await?;
    let dead: Vec<WorkerId> = dead.into_iter().map(|dead| dead.id).collect();
    let names: Vec<String> = dead.iter().map(ToString::to_string).collect();
    diesel::sql_query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ANY ($1)",
    )
    .bind::<Array<Text>, _>(names)
    .execute(conn)
    .await?;
    Ok(dead)
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

/// What a list of runs is narrowed to.
#[derive(Debug, Clone, Default)]
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
            query = query.filter(runs::flow_id.eq(flow));
        }
        if let Some(parent) = filter.parent {
            query = query.filter(runs::parent_id.eq(parent));
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

/// How many runs are in each state, of those that the filter's other parts let through.
pub async fn count_by_state(
    conn: &mut AsyncPgConnection,
    filter: &RunFilter,
) -> QueryResult<Vec<(RunState, i64)>> {
    filtered!(
        runs::table.group_by(runs::state).select((runs::state, diesel::dsl::count_star())).into_boxed(),
        filter
    )
    .load(conn)
    .await
}

/// The kinds that have runs.
pub async fn kinds(conn: &mut AsyncPgConnection) -> QueryResult<Vec<String>> {
    runs::table.select(runs::kind).distinct().order(runs::kind).load(conn).await
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

/// The workers that live or were seen in the last day, newest first.
pub async fn recent_workers(conn: &mut AsyncPgConnection) -> QueryResult<Vec<Worker>> {
    workers::table
        .filter(diesel::dsl::sql::<diesel::sql_types::Bool>(
            "state = 'alive' OR last_seen > now() - interval '1 day'",
        ))
        .order(workers::started_at.desc())
        .limit(100)
        .select(Worker::as_select())
        .load(conn)
        .await
}

/// How many workers are alive: they said so within the last lease.
pub async fn count_live_workers(conn: &mut AsyncPgConnection) -> QueryResult<i64> {
    workers::table
        .filter(diesel::dsl::sql::<diesel::sql_types::Bool>(
            "state = 'alive' AND last_seen > now() - interval '20 seconds'",
        ))
        .count()
        .get_result(conn)
        .await
}
