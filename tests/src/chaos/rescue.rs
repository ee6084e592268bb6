//! What becomes of the runs that a dead or frozen worker held, and of the frozen worker.

use super::{Chaos, locked};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const LOOK: Duration = Duration::from_millis(200);

/// Measures how long it takes until no run belongs to a process that was killed at `killed`.
pub(super) async fn measure(chaos: Arc<Chaos>, pid: u32, killed: Instant) {
    let held = format!(
        "SELECT count(*) AS value FROM runs r JOIN workers w ON w.id = r.worker_id
         WHERE r.state = 'running' AND w.pid = {pid}"
    );
    let mut ticks = tokio::time::interval(LOOK);
    let mut held_some = false;
    loop {
        ticks.tick().await;
        match chaos.fleet.try_number(&held).await {
            Ok(0) if held_some => return locked(&chaos.rescues).push(chaos.elapsed_since(killed)),
            // Its last claim may still be on its way: it counts only when the process is surely gone.
            Ok(0) if killed.elapsed() > Duration::from_secs(2) => return,
            Ok(0) | Err(_) => {}
            Ok(_) => held_some = true,
        }
    }
}

/// The worker of a process, at most one of its lives being alive.
pub(super) async fn worker_of(chaos: &Chaos, pid: u32) -> Option<uuid::Uuid> {
    use diesel_async::RunQueryDsl;
    #[derive(diesel::QueryableByName)]
    struct Row {
        #[diesel(sql_type = diesel::sql_types::Uuid)]
        id: uuid::Uuid,
    }
    let mut conn = chaos.fleet.pool.get().await.ok()?;
    let sql = format!(
        "SELECT id FROM workers WHERE pid = {pid} AND state = 'alive' ORDER BY started_at DESC LIMIT 1"
    );
    diesel::sql_query(sql).get_result::<Row>(&mut conn).await.ok().map(|row| row.id)
}

/// Whether the worker is in the middle of a COPY.
pub(super) async fn is_copying(chaos: &Chaos, worker: uuid::Uuid) -> bool {
    let sql = format!(
        "SELECT count(*) AS value FROM pg_stat_activity WHERE application_name = '{worker}'
         AND query LIKE 'COPY chaos_effects%' AND state = 'active'"
    );
    chaos.fleet.try_number(&sql).await.is_ok_and(|copies| copies > 0)
}

/// Waits until a frozen worker is dead to the others and none of its connections is left; says so if
/// that takes too long.
pub(super) async fn until_cut_off(chaos: &Chaos, worker: uuid::Uuid, frozen: Instant) {
    let sql = format!(
        "SELECT (SELECT count(*) FROM workers WHERE id = '{worker}' AND state <> 'dead')
              + (SELECT count(*) FROM pg_stat_activity WHERE application_name = '{worker}') AS value"
    );
    // A judge may have to wait a lease of its own, and sees it at its next heartbeat.
    let patience = chaos.plan.lease * 3 + chaos.plan.heartbeat * 2;
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        if let Ok(0) = chaos.fleet.try_number(&sql).await {
            return;
        }
        if chaos.elapsed_since(frozen) > patience {
            return chaos.complain(format!("frozen worker {worker} still has connections, or is not dead"));
        }
    }
}

/// Waits until a thawed process has another worker's id; says so if that takes too long.
pub(super) async fn until_begun_anew(chaos: Arc<Chaos>, pid: u32, old: uuid::Uuid) {
    let thawed = Instant::now();
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        if worker_of(&chaos, pid).await.is_some_and(|worker| worker != old) {
            return chaos.count("(thawed workers that went on under a new id)");
        }
        // Killed meanwhile.
        if locked(&chaos.doomed).iter().filter(|&&doomed| doomed == pid).count() > 1 {
            return;
        }
        if chaos.elapsed_since(thawed) > Duration::from_secs(30) {
            return chaos.complain(format!("the thawed process {pid} did not begin anew"));
        }
    }
}
