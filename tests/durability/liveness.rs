//! Who is dead, and who is only late.

use crate::Place;
use shared::runs::RunState;
use std::time::{Duration, Instant};
use tests::{
    Fleet, eventually,
    kinds::effects::Slow,
    processes::{Postgres, Redis},
};

const HEARTBEAT: Duration = Duration::from_millis(500);
const LEASE: Duration = Duration::from_millis(3000);

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_late_by_half_a_lease_is_not_declared_dead() {
    let mut place = Place::new().await;
    place.fleet.set_lease(HEARTBEAT, LEASE);
    let late = place.fleet.ready_worker().await;
    let long = place.fleet.enqueue(&Slow { ms: 8000 }).await;
    place.fleet.until(long, RunState::Running).await;
    let judge = place.fleet.ready_worker().await;
    let age = format!(
        "SELECT (1000 * extract(epoch FROM now() - started_at))::bigint AS value FROM workers WHERE pid = {}",
        judge.id()
    );
    eventually("the judge to be allowed to judge", || async {
        (place.fleet.number(&age).await > 3600).then_some(())
    })
    .await;
    let silence = format!(
        "SELECT (1000 * extract(epoch FROM now() - last_seen))::bigint AS value FROM workers WHERE pid = {}",
        late.id()
    );
    for _ in 0..2 {
        late.freeze();
        eventually("a silence of half a lease", || async {
            (place.fleet.number(&silence).await > 1500).then_some(())
        })
        .await;
        late.thaw();
        eventually("the late heartbeat", || async {
            (place.fleet.number(&silence).await < 500).then_some(())
        })
        .await;
    }
    place.fleet.until(long, RunState::Completed).await;
    assert_eq!(place.fleet.outcomes(long).await, ["completed"]);
    place.expect_no_crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_database_longer_than_a_lease_declares_nobody_dead() {
    let (mut postgres, redis) = (Postgres::start().await, Redis::start());
    let mut fleet = Fleet::new(&postgres.url, &redis.url());
    fleet.set_lease(Duration::from_millis(300), Duration::from_millis(1500));
    let _workers = [fleet.ready_worker().await, fleet.ready_worker().await];
    let long = [fleet.enqueue(&Slow { ms: 5000 }).await, fleet.enqueue(&Slow { ms: 1000 }).await];
    for run in long {
        fleet.until(run, RunState::Running).await;
    }
    postgres.stop_immediate();
    let stopped = Instant::now();
    eventually("an outage longer than a lease", || async {
        (stopped.elapsed() > Duration::from_millis(2500)).then_some(())
    })
    .await;
    postgres.start_again().await;
    let back = Instant::now();
    for run in long {
        fleet.until(run, RunState::Completed).await;
        // Also the one that ended while its end could not be written: it is closed late, not run again.
        assert!(!fleet.outcomes(run).await.contains(&"crashed".to_owned()));
    }
    // Time enough for a wrong judgement.
    eventually("a lease after the outage", || async {
        (back.elapsed() > Duration::from_millis(2500)).then_some(())
    })
    .await;
    assert_eq!(fleet.number("SELECT count(*) AS value FROM workers WHERE state = 'dead'").await, 0);
    assert_eq!(fleet.number("SELECT count(*) AS value FROM workers").await, 2);
    assert_eq!(fleet.number("SELECT count(*) AS value FROM chaos_effects").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stood_still_longer_than_a_lease_declares_nobody_dead() {
    let (postgres, redis) = (Postgres::start().await, Redis::start());
    let mut fleet = Fleet::new(&postgres.url, &redis.url());
    fleet.set_lease(Duration::from_millis(300), Duration::from_millis(1500));
    let _workers = [fleet.ready_worker().await, fleet.ready_worker().await, fleet.ready_worker().await];
    let since = Instant::now();
    eventually("the workers to judge each other", || async {
        (since.elapsed() > Duration::from_millis(2500)).then_some(())
    })
    .await;
    for _ in 0..3 {
        postgres.freeze();
        let frozen = Instant::now();
        eventually("a standstill longer than a lease", || async {
            (frozen.elapsed() > Duration::from_millis(2500)).then_some(())
        })
        .await;
        postgres.thaw();
        let thawed = Instant::now();
        // Time enough for a wrong judgement.
        eventually("two leases after it", || async {
            (thawed.elapsed() > Duration::from_millis(3000)).then_some(())
        })
        .await;
        assert_eq!(fleet.number("SELECT count(*) AS value FROM workers WHERE state = 'dead'").await, 0);
    }
    assert_eq!(fleet.number("SELECT count(*) AS value FROM workers").await, 3);
}
