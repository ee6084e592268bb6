//! Queues: pausing them (or a kind), limiting them, and how they stand.

use super::job::Queue;
use crate::schema::pauses;
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Array, BigInt, Integer, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

text_enum! {
    /// What can be paused.
    PauseTarget {
        /// A queue.
        Queue = "queue",
        /// A kind of job.
        Kind = "kind",
    }
}

/// A queue or a kind whose runs are not begun.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = pauses, check_for_backend(diesel::pg::Pg), treat_none_as_null = true)]
pub struct Pause {
    /// What is paused.
    pub target: PauseTarget,
    /// Which.
    pub name: String,
    /// Ends by itself then.
    pub until: Option<DateTime<Utc>>,
    /// What who paused it said.
    pub reason: Option<String>,
    /// Who paused it.
    pub paused_by: String,
    /// When.
    pub paused_at: DateTime<Utc>,
}

/// Pauses a queue or a kind; what runs goes on. Pausing again replaces reason and time.
pub async fn pause(conn: &mut AsyncPgConnection, pause: &Pause) -> QueryResult<()> {
    diesel::insert_into(pauses::table)
        .values(pause)
        .on_conflict((pauses::target, pauses::name))
        .do_update()
        .set(pause)
        .execute(conn)
        .await
        .map(|_| ())
}

/// Resumes; false if it was not paused.
pub async fn resume(conn: &mut AsyncPgConnection, target: PauseTarget, name: &str) -> QueryResult<bool> {
    let rows = diesel::delete(pauses::table.find((target, name)))
        .returning(pauses::until)
        .load::<Option<DateTime<Utc>>>(conn)
        .await?;
    Ok(!rows.is_empty())
}

/// What is paused now.
pub async fn paused(conn: &mut AsyncPgConnection) -> QueryResult<Vec<Pause>> {
    pauses::table
        .filter(pauses::until.is_null().or(pauses::until.gt(diesel::dsl::now)))
        .order((pauses::target.desc(), pauses::name))
        .select(Pause::as_select())
        .load(conn)
        .await
}

/// Sets, or lifts, how many runs of a queue may run at once on all workers together. What runs already
/// counts; what is too much ends in peace.
pub async fn set_limit(conn: &mut AsyncPgConnection, queue: &str, limit: Option<i32>) -> QueryResult<()> {
    diesel::sql_query("SELECT set_queue_limit($1, $2)")
        .bind::<Text, _>(queue)
        .bind::<Nullable<Integer>, _>(limit)
        .execute(conn)
        .await
        .map(|_| ())
}

/// How a queue stands.
#[derive(Debug, Clone, QueryableByName)]
pub struct QueueStanding {
    /// Its name.
    #[diesel(sql_type = Text)]
    pub queue: String,
    /// Runs that could be claimed now.
    #[diesel(sql_type = BigInt)]
    pub available: i64,
    /// How long the first of them has waited.
    #[diesel(sql_type = BigInt)]
    pub oldest_ms: i64,
    /// Runs that run.
    #[diesel(sql_type = BigInt)]
    pub running: i64,
    /// Runs that wait for their time or their next attempt.
    #[diesel(sql_type = BigInt)]
    pub later: i64,
    /// Slots on all workers that are alive.
    #[diesel(sql_type = BigInt)]
    pub slots: i64,
    /// How many may run at once.
    #[diesel(sql_type = Nullable<Integer>)]
    pub max_running: Option<i32>,
}

/// How every queue stands. Reads live runs only, by their indexes.
pub async fn standings(conn: &mut AsyncPgConnection) -> QueryResult<Vec<QueueStanding>> {
    let names: Vec<&str> = Queue::ALL.iter().map(|queue| queue.as_str()).collect();
    diesel::sql_query(
        "WITH live AS (
             SELECT queue, state, count(*) AS n, min(run_at) AS first FROM runs
             WHERE state IN ('available', 'running', 'scheduled', 'retryable') GROUP BY queue, state
         )
         SELECT q.queue,
                coalesce(sum(l.n) FILTER (WHERE l.state = 'available'), 0)::bigint AS available,
                coalesce(1000 * extract(epoch FROM now() - min(l.first) FILTER (WHERE l.state = 'available')), 0)::bigint
                    AS oldest_ms,
                coalesce(sum(l.n) FILTER (WHERE l.state = 'running'), 0)::bigint AS running,
                coalesce(sum(l.n) FILTER (WHERE l.state IN ('scheduled', 'retryable')), 0)::bigint AS later,
                (SELECT coalesce(sum((w.slots->>q.queue)::integer), 0) FROM workers w
                 WHERE w.state = 'alive' AND NOT is_silent(w))::bigint AS slots,
                (SELECT max_running FROM queue_limits x WHERE x.queue = q.queue) AS max_running
         FROM unnest($1::text[]) WITH ORDINALITY AS q (queue, place) LEFT JOIN live l ON l.queue = q.queue
         GROUP BY q.queue, q.place ORDER BY q.place",
    )
    .bind::<Array<Text>, _>(names)
    .load(conn)
    .await
}
