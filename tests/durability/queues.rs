//! Queues under stress: many due runs, limits, priorities.

use crate::Place;
use shared::runs::RunState;
use std::sync::atomic::{AtomicI64, Ordering};
use tests::{
    eventually,
    kinds::{Obey, effects::Slow},
};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_due_runs_in_one_queue_jam_nothing() {
    let place = Place::new().await;
    place
        .fleet
        .execute(
            "INSERT INTO runs (id, kind, queue, state, max_attempts, flow_id, created_by)
             SELECT id, 'noop', 'light', 'available', 3, id, 'test'
             FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 50000)) AS ids",
        )
        .await;
    let _workers = [place.fleet.ready_worker().await, place.fleet.ready_worker().await];
    let done = "SELECT count(*) AS value FROM runs WHERE state = 'completed'";
    let mut most_bells = 0;
    // What jams a transport would do so at once: it is not necessary to wait for all of them.
    while place.fleet.number(done).await < 5_000 {
        let bells = place.redis.ask(&["EVAL", BELLS, "0"]);
        most_bells = most_bells.max(bells.parse::<i64>().unwrap());
        tokio::task::yield_now().await;
    }
    assert!(most_bells < 1000, "{most_bells} doorbells lie in Redis");
    // Others are served meanwhile.
    let other = place.fleet.enqueue(&Obey::new(&["effect"])).await;
    place.fleet.until(other, RunState::Completed).await;
}

/// Members of all lists, sets and hashes together.
const BELLS: &str = "local n = 0
    for _, key in ipairs(redis.call('KEYS', '*')) do
        local kind = redis.call('TYPE', key).ok
        if kind == 'zset' then n = n + redis.call('ZCARD', key)
        elseif kind == 'list' then n = n + redis.call('LLEN', key)
        elseif kind == 'hash' then n = n + redis.call('HLEN', key)
        elseif kind == 'set' then n = n + redis.call('SCARD', key) end
    end
    return n";

#[tokio::test(flavor = "multi_thread")]
async fn a_global_limit_holds_whatever_dies() {
    let place = Place::new().await;
    place.fleet.execute("SELECT set_queue_limit('default', 3)").await;
    let mut workers = [place.fleet.worker(), place.fleet.worker(), place.fleet.worker()];
    place.fleet.enqueue_many(&vec![Slow { ms: 200 }; 60]).await;
    let most = AtomicI64::new(0);
    let look = async || {
        let now = place.fleet.number("SELECT count(*) AS value FROM runs WHERE state = 'running'").await;
        most.fetch_max(now, Ordering::Relaxed);
    };
    for kill in 1..=4 {
        let (look, place) = (&look, &place);
        let holder = eventually("a worker with a run", || async move {
            look().await;
            let done = "SELECT count(*) AS value FROM runs WHERE state = 'completed'";
            let holder = "SELECT coalesce(max(w.pid), 0)::bigint AS value FROM runs r
                          JOIN workers w ON w.id = r.worker_id WHERE r.state = 'running'";
            let enough = place.fleet.number(done).await >= kill * 8;
            Some(place.fleet.number(holder).await).filter(|&pid| enough && pid > 0)
        })
        .await;
        // One that died before may still be in the record.
        if let Some(worker) = workers.iter_mut().find(|worker| i64::from(worker.id()) == holder) {
            worker.kill();
            *worker = place.fleet.worker();
        }
    }
    eventually("the end of all runs", || async {
        look().await;
        let open = "SELECT count(*) AS value FROM runs WHERE finished_at IS NULL";
        (place.fleet.number(open).await == 0).then_some(())
    })
    .await;
    assert_eq!(most.into_inner(), 3, "the limit is used, and never passed");
    place.expect_each_once().await;
    let crashed =
        place.fleet.number("SELECT count(*) AS value FROM run_attempts WHERE outcome = 'crashed'").await;
    assert!(crashed > 0, "the kills met no running run: the test shows nothing");
    place.db.expect_nothing("SELECT * FROM queue_slots WHERE run_id IS NOT NULL").await;
    assert_eq!(place.fleet.number("SELECT count(*) AS value FROM queue_slots").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn low_priority_waits_a_bounded_time() {
    let place = Place::new().await;
    // A point of priority is worth a minute: of two runs ten points apart, the low one goes first when it
    // has waited eleven minutes longer, and last when it has waited nine.
    place
        .fleet
        .execute(
            "INSERT INTO runs (id, kind, queue, args, state, max_attempts, flow_id, created_by, priority, run_at)
             SELECT id, 'obey', 'default', '{\"orders\": []}'::jsonb, 'available', 3, id, label, priority::smallint, now() - age
             FROM (VALUES (gen_random_uuid(), 'low, new', 110, interval '9 minutes'),
                          (gen_random_uuid(), 'low, old', 110, interval '11 minutes')) AS low (id, label, priority, age)
             UNION ALL
             SELECT id, 'obey', 'default', '{\"orders\": []}'::jsonb, 'available', 3, id, 'high', 100::smallint, now()
             FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 30)) AS high",
        )
        .await;
    let _worker = place.fleet.worker_with(&[("MILLRACE_DEFAULT_SLOTS", "1")]);
    place.fleet.until_idle().await;
    let before = async |label: &str| {
        place
            .fleet
            .number(&format!(
                "SELECT count(*) AS value FROM runs WHERE created_by = 'high'
                 AND finished_at < (SELECT finished_at FROM runs WHERE created_by = '{label}')"
            ))
            .await
    };
    assert_eq!((before("low, old").await, before("low, new").await), (0, 30));
}
