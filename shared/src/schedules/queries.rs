//! What is asked of the record about schedules.

use super::model::{Schedule, Tick, TickOutcome};
use crate::{
    ids::{RunId, ScheduleId},
    runs::RunState,
    schema::{runs, schedule_ticks, schedules},
};
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    sql_types::{Nullable, Text, Timestamptz, Uuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

diesel::define_sql_function! {
    /// The database's clock, which counts for every process.
    fn clock_timestamp() -> Timestamptz;
}

/// The key of the leader's advisory lock; the migrations' is 7241001.
pub const LEADER_LOCK: i64 = 7_241_003;

/// The time by the database's clock.
pub async fn now(conn: &mut AsyncPgConnection) -> QueryResult<DateTime<Utc>> {
    diesel::select(clock_timestamp()).get_result(conn).await
}

/// All schedules: what fires next comes first, what is paused for good last.
pub async fn list(conn: &mut AsyncPgConnection) -> QueryResult<Vec<Schedule>> {
    schedules::table
        .order((schedules::next_at.asc().nulls_last(), schedules::name))
        .select(Schedule::as_select())
        .load(conn)
        .await
}

/// The schedule of this name.
pub async fn find(conn: &mut AsyncPgConnection, name: &str) -> QueryResult<Option<Schedule>> {
    let query = schedules::table.filter(schedules::name.eq(name)).select(Schedule::as_select());
    query.first(conn).await.optional()
}

/// The same, held until the transaction ends.
pub async fn lock(conn: &mut AsyncPgConnection, name: &str) -> QueryResult<Option<Schedule>> {
    let query = schedules::table.filter(schedules::name.eq(name)).select(Schedule::as_select());
    query.for_update().first(conn).await.optional()
}

/// The same by id, unless somebody else holds it: then it is somebody else's turn.
pub async fn lock_free(conn: &mut AsyncPgConnection, id: ScheduleId) -> QueryResult<Option<Schedule>> {
    let query = schedules::table.find(id).select(Schedule::as_select());
    query.for_update().skip_locked().first(conn).await.optional()
}

/// Schedules whose next tick has come.
pub async fn due(conn: &mut AsyncPgConnection) -> QueryResult<Vec<ScheduleId>> {
    let due = schedules::next_at.le(clock_timestamp().nullable());
    schedules::table.filter(due).order(schedules::next_at).select(schedules::id).load(conn).await
}

/// Schedules of which a tick waits and whose last run has ended.
pub async fn released(conn: &mut AsyncPgConnection) -> QueryResult<Vec<ScheduleId>> {
    let waiting = schedule_ticks::outcome.eq(TickOutcome::Waiting).and(schedule_ticks::backfill_id.is_null());
    let ended = runs::id.nullable().is_null().or(runs::state.nullable().eq_any(terminal()));
    schedule_ticks::table
        .inner_join(schedules::table.on(schedules::id.eq(schedule_ticks::schedule_id)))
        .left_join(runs::table.on(runs::id.nullable().eq(schedules::last_run_id)))
        .filter(waiting.and(ended))
        .select(schedules::id)
        .distinct()
        .load(conn)
        .await
}

fn terminal() -> Vec<RunState> {
    RunState::ALL.iter().copied().filter(|state| state.is_terminal()).collect()
}

/// Whether a run has not ended.
pub async fn is_active(conn: &mut AsyncPgConnection, run: RunId) -> QueryResult<bool> {
    let ended = runs::table.filter(runs::id.eq(run).and(runs::state.ne_all(terminal())));
    diesel::select(diesel::dsl::exists(ended)).get_result(conn).await
}

/// The ticks that wait for the end of a run, by their times.
pub async fn waiting(conn: &mut AsyncPgConnection, id: ScheduleId) -> QueryResult<Vec<Tick>> {
    schedule_ticks::table
        .filter(schedule_ticks::schedule_id.eq(id).and(schedule_ticks::backfill_id.is_null()))
        .filter(schedule_ticks::outcome.eq(TickOutcome::Waiting))
        .order(schedule_ticks::nominal_at)
        .select(Tick::as_select())
        .load(conn)
        .await
}

/// Leaves out the ticks that wait for the end of a run.
pub async fn drop_waiting(conn: &mut AsyncPgConnection, id: ScheduleId, reason: &str) -> QueryResult<usize> {
    let waiting = schedule_ticks::table
        .filter(schedule_ticks::schedule_id.eq(id).and(schedule_ticks::backfill_id.is_null()))
        .filter(schedule_ticks::outcome.eq(TickOutcome::Waiting));
    diesel::update(waiting)
        .set((schedule_ticks::outcome.eq(TickOutcome::Skipped), schedule_ticks::reason.eq(reason)))
        .execute(conn)
        .await
}

/// Leaves out the ticks of backfills that have ended before it was their turn.
pub async fn drop_abandoned(conn: &mut AsyncPgConnection) -> QueryResult<usize> {
    let ended = runs::table.filter(runs::state.eq_any(terminal())).select(runs::id.nullable());
    let waiting = schedule_ticks::table
        .filter(schedule_ticks::outcome.eq(TickOutcome::Waiting))
        .filter(schedule_ticks::backfill_id.eq_any(ended));
    diesel::update(waiting)
        .set((
            schedule_ticks::outcome.eq(TickOutcome::Skipped),
            schedule_ticks::reason.eq("the backfill ended before it was its turn"),
        ))
        .execute(conn)
        .await
}

/// A tick with the state of its run, if it has one and it is known.
pub type TickLine = (Tick, Option<RunState>);

/// Ticks before `before`, newest first.
pub async fn ticks(
    conn: &mut AsyncPgConnection,
    id: ScheduleId,
    before: Option<DateTime<Utc>>,
    limit: i64,
) -> QueryResult<Vec<TickLine>> {
    let mut query = schedule_ticks::table
        .left_join(runs::table.on(runs::id.nullable().eq(schedule_ticks::run_id)))
        .filter(schedule_ticks::schedule_id.eq(id))
        .select((Tick::as_select(), runs::state.nullable()))
        .order(schedule_ticks::nominal_at.desc())
        .limit(limit)
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(schedule_ticks::nominal_at.lt(before));
    }
    known_states(query.load(conn).await?)
}

/// Ticks in `from..until` by their times.
pub async fn ticks_between(
    conn: &mut AsyncPgConnection,
    id: ScheduleId,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> QueryResult<Vec<TickLine>> {
    let rows = schedule_ticks::table
        .left_join(runs::table.on(runs::id.nullable().eq(schedule_ticks::run_id)))
        .filter(schedule_ticks::schedule_id.eq(id))
        .filter(schedule_ticks::nominal_at.ge(from).and(schedule_ticks::nominal_at.lt(until)))
        .select((Tick::as_select(), runs::state.nullable()))
        .order(schedule_ticks::nominal_at)
        .load(conn)
        .await?;
    known_states(rows)
}

fn known_states(rows: Vec<TickLine>) -> QueryResult<Vec<TickLine>> {
    let known = |(tick, state): TickLine| {
        let state = state.or(tick.run_ended);
        (tick, state)
    };
    Ok(rows.into_iter().map(known).collect())
}

/// The schedule whose tick a run stands for, and the tick's time.
pub async fn schedule_of_run(
    conn: &mut AsyncPgConnection,
    run: RunId,
) -> QueryResult<Option<(String, DateTime<Utc>)>> {
    schedule_ticks::table
        .inner_join(schedules::table.on(schedules::id.eq(schedule_ticks::schedule_id)))
        .filter(schedule_ticks::run_id.eq(run))
        .order(schedule_ticks::nominal_at.desc())
        .select((schedules::name, schedule_ticks::nominal_at))
        .first(conn)
        .await
        .optional()
}

/// The last tick of each schedule that has one, newest by its time.
pub async fn last_ticks(conn: &mut AsyncPgConnection) -> QueryResult<Vec<TickLine>> {
    let rows = schedule_ticks::table
        .left_join(runs::table.on(runs::id.nullable().eq(schedule_ticks::run_id)))
        .distinct_on(schedule_ticks::schedule_id)
        .order((schedule_ticks::schedule_id, schedule_ticks::nominal_at.desc()))
        .select((Tick::as_select(), runs::state.nullable()))
        .load(conn)
        .await?;
    known_states(rows)
}

/// The scheduler that leads.
#[derive(Debug, Clone, QueryableByName)]
pub struct Leader {
    /// What it calls itself: host and process.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Since when its connection stands.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub since: Option<DateTime<Utc>>,
}

/// Who leads, if anybody does.
pub async fn leader(conn: &mut AsyncPgConnection) -> QueryResult<Option<Leader>> {
    diesel::sql_query(
        "SELECT a.application_name AS name, a.backend_start AS since
         FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE l.locktype = 'advisory' AND l.objid::bigint = $1 AND l.granted
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .bind::<diesel::sql_types::BigInt, _>(LEADER_LOCK)
    .get_result(conn)
    .await
    .optional()
}

/// Ends the connections of a leader that has said nothing for ten seconds: it asks its own each second, so its
/// process stands still, and its lock and what it has begun would be held for as long. True if there was one.
pub async fn depose_silent_leader(conn: &mut AsyncPgConnection) -> QueryResult<bool> {
    let ended = diesel::sql_query(
        "WITH silent AS (
             SELECT a.pid, a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
             WHERE l.locktype = 'advisory' AND l.objid::bigint = $1 AND l.granted
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
               AND a.state_change < clock_timestamp() - interval '10 seconds'
         )
         SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a JOIN silent s
             ON a.pid = s.pid OR a.application_name = replace(s.application_name, 'leader', 'scheduler')",
    );
    Ok(ended.bind::<diesel::sql_types::BigInt, _>(LEADER_LOCK).execute(conn).await? > 0)
}

/// Removes old ticks: those of more than 400 days ago, and what of a schedule is beyond its newest 10,000.
pub async fn prune_ticks(conn: &mut AsyncPgConnection) -> QueryResult<usize> {
    diesel::sql_query(
        "DELETE FROM schedule_ticks t USING (
             SELECT s.id, greatest(now() - interval '400 days', coalesce((
                 SELECT nominal_at FROM schedule_ticks k WHERE k.schedule_id = s.id
                 ORDER BY nominal_at DESC OFFSET 10000 LIMIT 1), '-infinity')) AS oldest
             FROM schedules s) kept
         WHERE t.schedule_id = kept.id AND t.nominal_at <= kept.oldest AND t.outcome <> 'waiting'",
    )
    .execute(conn)
    .await
}

/// How many ticks of a backfill are to come, run, and have ended well or badly.
#[derive(Debug, Clone, Copy, Default, QueryableByName)]
pub struct BackfillStanding {
    /// Wait for their turn.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub waiting: i64,
    /// Have a run that has not ended.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub running: i64,
    /// Have a run that has completed.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub completed: i64,
    /// Have a run that has ended otherwise, or could have none.
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    pub failed: i64,
}

/// How a backfill stands.
pub async fn backfill_standing(
    conn: &mut AsyncPgConnection,
    backfill: RunId,
) -> QueryResult<BackfillStanding> {
    diesel::sql_query(
        "SELECT count(*) FILTER (WHERE t.outcome = 'waiting') AS waiting,
                count(*) FILTER (WHERE s.state NOT IN ('completed', 'failed', 'cancelled', 'discarded')) AS running,
                count(*) FILTER (WHERE s.state = 'completed') AS completed,
                count(*) FILTER (WHERE t.outcome NOT IN ('waiting', 'fired', 'joined')
                                   OR s.state IN ('failed', 'cancelled', 'discarded')) AS failed
         FROM schedule_ticks t
         LEFT JOIN runs r ON r.id = t.run_id
         CROSS JOIN LATERAL (SELECT CASE WHEN t.run_id IS NOT NULL
             THEN coalesce(r.state, t.run_ended, 'completed') END AS state) s
         WHERE t.backfill_id = $1",
    )
    .bind::<Uuid, _>(backfill)
    .get_result(conn)
    .await
}

/// A backfill that has ticks of a schedule yet to run.
pub async fn active_backfill(conn: &mut AsyncPgConnection, id: ScheduleId) -> QueryResult<Option<RunId>> {
    let active = runs::table.filter(runs::state.ne_all(terminal())).select(runs::id.nullable());
    let found: Option<Option<RunId>> = schedule_ticks::table
        .filter(schedule_ticks::schedule_id.eq(id).and(schedule_ticks::outcome.eq(TickOutcome::Waiting)))
        .filter(schedule_ticks::backfill_id.eq_any(active))
        .select(schedule_ticks::backfill_id)
        .first(conn)
        .await
        .optional()?;
    Ok(found.flatten())
}

/// The backfill's ticks whose turn is next.
pub async fn next_of_backfill(
    conn: &mut AsyncPgConnection,
    backfill: RunId,
    limit: i64,
) -> QueryResult<Vec<Tick>> {
    schedule_ticks::table
        .filter(schedule_ticks::backfill_id.eq(backfill))
        .filter(schedule_ticks::outcome.eq(TickOutcome::Waiting))
        .order(schedule_ticks::nominal_at)
        .limit(limit)
        .select(Tick::as_select())
        .load(conn)
        .await
}
