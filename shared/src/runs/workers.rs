//! Workers: who is alive, what each holds, who has died. Times are the database's.

use super::model::{Run, RunState, Worker};
use crate::{
    ids::{ClaimToken, RunId, WorkerId},
    schema::{runs, workers},
};
use diesel::{
    dsl::sql,
    prelude::*,
    sql_types::{Array, BigInt, Bool, Text, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::time::Duration;

/// What a worker says of itself when it starts.
#[derive(Debug, Clone)]
pub struct Introduction<'a> {
    /// Fresh at each start.
    pub id: WorkerId,
    /// Its machine.
    pub host: &'a str,
    /// Version of Millrace.
    pub version: &'a str,
    /// Slots by queue.
    pub slots: serde_json::Value,
    /// The kinds it knows.
    pub kinds: Vec<&'a str>,
    /// Silent for so long, it is to be taken for dead.
    pub lease: Duration,
}

/// Records the start of a worker.
pub async fn register(conn: &mut AsyncPgConnection, worker: &Introduction<'_>) -> QueryResult<()> {
    diesel::insert_into(workers::table)
        .values((
            workers::id.eq(worker.id),
            workers::host.eq(worker.host),
            workers::pid.eq(std::process::id().cast_signed()),
            workers::version.eq(worker.version),
            workers::slots.eq(&worker.slots),
            workers::kinds.eq(&worker.kinds),
            workers::lease_ms.eq(i32::try_from(worker.lease.as_millis()).unwrap_or(i32::MAX)),
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

/// Records that a worker takes on nothing more: its slots no longer count.
pub async fn begin_to_stop(conn: &mut AsyncPgConnection, id: WorkerId) -> QueryResult<()> {
    diesel::update(workers::table.find(id))
        .set(workers::slots.eq(serde_json::json!({})))
        .execute(conn)
        .await
        .map(|_| ())
}

/// Records that a worker stopped in order.
pub async fn stop(conn: &mut AsyncPgConnection, id: WorkerId) -> QueryResult<()> {
    diesel::update(workers::table.filter(workers::id.eq(id).and(workers::state.eq("alive"))))
        .set((workers::state.eq("stopped"), workers::last_seen.eq(diesel::dsl::now)))
        .execute(conn)
        .await
        .map(|_| ())
}

#[derive(QueryableByName)]
struct IdRow {
    #[diesel(sql_type = Uuid)]
    id: WorkerId,
}

/// Declares the workers dead that were silent for longer than their leases. Returns them.
pub async fn bury_silent(conn: &mut AsyncPgConnection) -> QueryResult<Vec<WorkerId>> {
    let dead: Vec<IdRow> = diesel::sql_query(
        "UPDATE workers SET state = 'dead' WHERE id IN (
             SELECT id FROM workers w WHERE state = 'alive' AND is_silent(w)
             ORDER BY id FOR UPDATE SKIP LOCKED)
         RETURNING id",
    )
    .load(conn)
    .await?;
    Ok(dead.into_iter().map(|dead| dead.id).collect())
}

/// Ends the connections of dead workers: a frozen one would keep its locks. Asked again and again, so
/// that it does not matter whether the one who declared the death lived to do it.
pub async fn end_connections_of_dead(conn: &mut AsyncPgConnection) -> QueryResult<usize> {
    diesel::sql_query(
        "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
         WHERE a.datname = current_database()
           AND a.application_name IN (SELECT id::text FROM workers
               WHERE state = 'dead' AND last_seen > now() - interval '1 day')",
    )
    .execute(conn)
    .await
}

/// A run that its worker holds, as the record has it.
#[derive(Debug, Clone, QueryableByName)]
pub struct HeldRun {
    /// The run.
    #[diesel(sql_type = Uuid)]
    pub id: RunId,
    /// Its kind.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The claim.
    #[diesel(sql_type = Uuid)]
    pub claim_token: ClaimToken,
    /// Whether it is asked to stop.
    #[diesel(sql_type = Bool)]
    pub cancel_requested: bool,
}

/// The runs that a worker holds.
pub async fn held_by(conn: &mut AsyncPgConnection, worker: WorkerId) -> QueryResult<Vec<HeldRun>> {
    diesel::sql_query(
        "SELECT id, kind, claim_token, cancel_requested FROM runs WHERE worker_id = $1 AND state = 'running'",
    )
    .bind::<Uuid, _>(worker)
    .load(conn)
    .await
}

/// The runs whose worker is dead or gone, at most 500.
pub async fn orphaned(conn: &mut AsyncPgConnection) -> QueryResult<Vec<HeldRun>> {
    diesel::sql_query(
        "SELECT r.id, r.kind, r.claim_token, r.cancel_requested FROM runs r LEFT JOIN workers w ON w.id = r.worker_id
         WHERE r.state = 'running' AND w.state IS DISTINCT FROM 'alive' ORDER BY r.id LIMIT 500",
    )
    .load(conn)
    .await
}

/// A worker, and what it does now.
#[derive(Debug, Clone)]
pub struct WorkerStanding {
    /// The worker.
    pub worker: Worker,
    /// It is thought alive but has said nothing for its whole lease.
    pub silent: bool,
    /// Runs that it runs, by queue.
    pub running: Vec<(String, i64)>,
}

#[derive(QueryableByName)]
struct RunningRow {
    #[diesel(sql_type = Uuid)]
    worker_id: WorkerId,
    #[diesel(sql_type = Text)]
    queue: String,
    #[diesel(sql_type = BigInt)]
    n: i64,
}

const SILENT: &str = "workers.state = 'alive' AND is_silent(workers)";

async fn standings_of(
    conn: &mut AsyncPgConnection,
    found: Vec<(Worker, bool)>,
) -> QueryResult<Vec<WorkerStanding>> {
    let ids: Vec<WorkerId> = found.iter().map(|(worker, _)| worker.id).collect();
    let running: Vec<RunningRow> = diesel::sql_query(
        "SELECT worker_id, queue, count(*) AS n FROM runs WHERE state = 'running' AND worker_id = ANY ($1)
         GROUP BY worker_id, queue ORDER BY queue",
    )
    .bind::<Array<Uuid>, _>(ids)
    .load(conn)
    .await?;
    let of = |id| running.iter().filter(move |row| row.worker_id == id).map(|row| (row.queue.clone(), row.n));
    Ok(found
        .into_iter()
        .map(|(worker, silent)| WorkerStanding { silent, running: of(worker.id).collect(), worker })
        .collect())
}

/// The workers that live or were seen in the last day: the living first, then the newest; at most 100.
pub async fn recent(conn: &mut AsyncPgConnection) -> QueryResult<Vec<WorkerStanding>> {
    let found = workers::table
        .filter(sql::<Bool>("state = 'alive' OR last_seen > now() - interval '1 day'"))
        .order((workers::state.eq("alive").desc(), workers::started_at.desc()))
        .limit(100)
        .select((Worker::as_select(), sql::<Bool>(SILENT)))
        .load(conn)
        .await?;
    standings_of(conn, found).await
}

/// One worker.
pub async fn find(conn: &mut AsyncPgConnection, id: WorkerId) -> QueryResult<Option<WorkerStanding>> {
    let found = workers::table
        .filter(workers::id.eq(id))
        .select((Worker::as_select(), sql::<Bool>(SILENT)))
        .load(conn)
        .await?;
    Ok(standings_of(conn, found).await?.pop())
}

/// What a worker runs now, oldest first, at most `limit`.
pub async fn runs_of(conn: &mut AsyncPgConnection, id: WorkerId, limit: i64) -> QueryResult<Vec<Run>> {
    runs::table
        .filter(runs::worker_id.eq(id).and(runs::state.eq(RunState::Running)))
        .order(runs::id)
        .limit(limit)
        .select(Run::as_select())
        .load(conn)
        .await
}

/// How many workers are alive: they said so within their leases.
pub async fn count_live(conn: &mut AsyncPgConnection) -> QueryResult<i64> {
    workers::table
        .filter(sql::<Bool>("state = 'alive' AND NOT is_silent(workers)"))
        .count()
        .get_result(conn)
        .await
}
