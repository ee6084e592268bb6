//! Handlers that misbehave.

use crate::Place;
use shared::runs::RunState;
use std::time::{Duration, Instant};
use tests::{
    eventually,
    kinds::{Obey, effects::Slow},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_ends_its_process_is_run_again_by_another() {
    let place = Place::new().await;
    let mut workers = [place.fleet.ready_worker().await, place.fleet.ready_worker().await];
    let beside = place.fleet.enqueue(&Slow { ms: 200 }).await;
    let deadly = [
        place.fleet.enqueue(&Obey::new(&["exit", "effect"])).await,
        place.fleet.enqueue(&Obey::new(&["abort", "effect"])).await,
    ];
    // Both workers may be gone before either run has its second chance: somebody starts one again.
    eventually("the end of a process", || {
        let ended = workers.iter_mut().any(|worker| worker.ended().is_some());
        async move { ended.then_some(()) }
    })
    .await;
    let _third = place.fleet.ready_worker().await;
    for run in deadly {
        place.fleet.until(run, RunState::Completed).await;
        assert_eq!(place.fleet.outcomes(run).await, ["crashed", "completed"]);
    }
    place.fleet.until(beside, RunState::Completed).await;
    place.expect_each_once().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_longer_than_leases_and_heartbeats_runs_once() {
    let place = Place::new().await;
    let _workers = [place.fleet.ready_worker().await, place.fleet.ready_worker().await];
    // Longer than the transport's heartbeat (5 s) too.
    let long = place.fleet.enqueue(&Slow { ms: 6500 }).await;
    place.fleet.until(long, RunState::Completed).await;
    assert_eq!(place.fleet.outcomes(long).await, ["completed"]);
    place.expect_each_once().await;
    place.expect_no_crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_blocks_its_thread_is_reported_and_harms_no_other() {
    let place = Place::new().await;
    let _judge = place.fleet.until_alive(place.fleet.worker_with(&[("MILLRACE_DEFAULT_SLOTS", "0")])).await;
    let _worker = place.fleet.until_alive(place.fleet.worker_with(&[("MILLRACE_DEFAULT_SLOTS", "2")])).await;
    // More than there are slots or cores. The kind's time is over after 2 s.
    let blocking = Duration::from_secs(30);
    let order = format!("block {}", blocking.as_millis());
    let began = Instant::now();
    let blocked = place.fleet.enqueue_many(&vec![Obey::new(&[&order, "effect"]); 4]).await;
    for &run in &blocked {
        place.fleet.until(run, RunState::Completed).await;
        assert_eq!(place.fleet.outcomes(run).await, ["timed_out", "completed"]);
    }
    let other = place.fleet.enqueue(&Obey::new(&["effect"])).await;
    place.fleet.until(other, RunState::Completed).await;
    assert!(began.elapsed() < blocking, "their slots were not replaced");
    // The threads wake one day, and find that their claims no longer hold.
    eventually("the threads to wake", || async {
        (began.elapsed() > blocking + Duration::from_secs(5)).then_some(())
    })
    .await;
    place.expect_each_once().await;
    place.expect_no_crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_chatty_attempt_the_newest_lines_are_kept() {
    let place = Place::new().await;
    let _worker = place.fleet.ready_worker().await;
    let run = place.fleet.enqueue(&Obey::new(&["chat 3500"])).await;
    place.fleet.until(run, RunState::Completed).await;
    let lines = format!(
        "SELECT count(*) AS value FROM run_logs WHERE run_id = '{run}' AND line > 2500 AND message = 'word ' || line"
    );
    let others = format!("SELECT count(*) AS value FROM run_logs WHERE run_id = '{run}' AND line <= 2500");
    eventually("the last thousand lines", || async {
        (place.fleet.number(&lines).await == 1000 && place.fleet.number(&others).await == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_dropped_in_mid_transaction_holds_no_lock() {
    let mut place = Place::new().await;
    place.fleet.set("MILLRACE_SHUTDOWN_GRACE_MS", "100");
    let mut worker = place.fleet.ready_worker().await;
    let run = place.fleet.enqueue(&Obey::new(&["hold", "effect"])).await;
    let held = format!("SELECT count(*) AS value FROM run_logs WHERE run_id = '{run}' AND message = 'held'");
    eventually("the run's row to be held", || async { (place.fleet.number(&held).await == 1).then_some(()) })
        .await;
    assert!(worker.stop(), "SIGTERM ends it well");
    // Not so if it had to leave the run to others.
    assert_eq!(place.fleet.number("SELECT count(*) AS value FROM workers WHERE state = 'stopped'").await, 1);
    let _next = place.fleet.ready_worker().await;
    place.fleet.until(run, RunState::Completed).await;
    assert_eq!(place.fleet.outcomes(run).await, ["interrupted", "completed"]);
    place.expect_no_crash().await;
}
