//! Redis is disposable: whatever becomes of it, runs go on by polling, and by doorbell as soon as it is
//! back.

use crate::Place;
use shared::runs::{Queue, RunState};
use std::time::{Duration, Instant};
use tests::{
    Fleet, TestDatabase, eventually,
    kinds::{Noop, effects::Light},
    processes::{Proxy, Redis},
};

/// Service must be back so soon after Redis is.
const RESUMES_WITHIN: Duration = Duration::from_secs(30);
/// Longer than the transport waits for an answer (5 s), and than it waits for a heartbeat.
/// `MILLRACE_TEST_OUTAGE_S` makes it longer still: 60 is what the platform's promise speaks of.
fn outage() -> Duration {
    let seconds = std::env::var("MILLRACE_TEST_OUTAGE_S").ok();
    Duration::from_secs(seconds.map_or(7, |seconds| seconds.parse().expect("a number of seconds")))
}

/// Enqueued one after the other, of the runs that a poll finds (once a second, by each of two workers) no
/// two in a row wait less.
const FAR_SOONER: chrono::TimeDelta = chrono::TimeDelta::milliseconds(400);

/// Waits until five runs in a row start by doorbell.
async fn until_served_by_doorbell(fleet: &Fleet) {
    eventually("service by doorbell", || async {
        for _ in 0..5 {
            let run = fleet.enqueue(&Light {}).await;
            let run = fleet.until(run, RunState::Completed).await;
            let waited = run.started_at.expect("it has started") - run.created_at;
            if waited > FAR_SOONER {
                return None;
            }
        }
        Some(())
    })
    .await;
}

/// Runs end while Redis is away.
async fn expect_service_by_polling(fleet: &Fleet) {
    for run in fleet.enqueue_many(&vec![Light {}; 20]).await {
        fleet.until(run, RunState::Completed).await;
    }
}

async fn until_elapsed(since: Instant, time: Duration) {
    eventually("the end of the outage", || async { (since.elapsed() > time).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_serves_again_at_once() {
    let place = Place::new().await;
    let _workers = [place.fleet.ready_worker().await, place.fleet.ready_worker().await];
    until_served_by_doorbell(&place.fleet).await;
    for _ in 0..3 {
        place.redis.flush();
        let back = Instant::now();
        until_served_by_doorbell(&place.fleet).await;
        assert!(back.elapsed() < RESUMES_WITHIN, "{:?}", back.elapsed());
    }
    place.expect_each_once().await;
    place.expect_no_crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_started_again_without_its_file_serves_again() {
    let mut place = Place::new().await;
    let _workers = [place.fleet.ready_worker().await, place.fleet.ready_worker().await];
    until_served_by_doorbell(&place.fleet).await;
    place.redis.stop();
    expect_service_by_polling(&place.fleet).await;
    place.redis.start_again();
    let back = Instant::now();
    until_served_by_doorbell(&place.fleet).await;
    assert!(back.elapsed() < RESUMES_WITHIN, "{:?}", back.elapsed());
    place.expect_each_once().await;
    place.expect_no_crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stood_still_serves_again() {
    let place = Place::new().await;
    let _workers = [place.fleet.ready_worker().await, place.fleet.ready_worker().await];
    until_served_by_doorbell(&place.fleet).await;
    let frozen = Instant::now();
    place.redis.freeze();
    expect_service_by_polling(&place.fleet).await;
    until_elapsed(frozen, outage()).await;
    place.redis.thaw();
    let back = Instant::now();
    until_served_by_doorbell(&place.fleet).await;
    assert!(back.elapsed() < RESUMES_WITHIN, "{:?}", back.elapsed());
    place.expect_each_once().await;
    place.expect_no_crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_behind_a_cut_network_serves_again() {
    let (db, redis) = (TestDatabase::create().await, Redis::start());
    let network = Proxy::to(redis.socket());
    let place = Place { fleet: Fleet::new(&db.url, &network.redis_url()), redis, db };
    let _workers = [place.fleet.ready_worker().await, place.fleet.ready_worker().await];
    until_served_by_doorbell(&place.fleet).await;
    let cut = Instant::now();
    network.cut();
    expect_service_by_polling(&place.fleet).await;
    until_elapsed(cut, outage()).await;
    network.restore();
    let back = Instant::now();
    until_served_by_doorbell(&place.fleet).await;
    assert!(back.elapsed() < RESUMES_WITHIN, "{:?}", back.elapsed());
    place.expect_each_once().await;
    place.expect_no_crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_runs_leave_nothing_in_redis() {
    let place = Place::new().await;
    let _worker = place.fleet.ready_worker().await;
    let work = async |runs: usize| {
        for part in 0..runs / 50 {
            place.fleet.enqueue_many(&vec![Noop {}; 50]).await;
            if part % 4 == 3 {
                place.fleet.until_idle().await;
            }
        }
        place.fleet.until_idle().await;
    };
    work(400).await;
    let before = place.redis.used_memory();
    work(2000).await;
    // What is left of doorbells is swept away every few seconds. Redis itself takes some room for
    // statistics, once; what the transport leaves takes 200 bytes a message and more.
    eventually("Redis to be as empty as before", || {
        let grown = place.redis.used_memory().saturating_sub(before);
        let keys: u64 = place.redis.ask(&["DBSIZE"]).parse().unwrap();
        // Each queue has keys of its own.
        async move { (grown < 300_000 && keys < 20 * Queue::ALL.len() as u64).then_some(()) }
    })
    .await;
}
