//! Rolling restarts.

use crate::Place;
use std::{sync::Arc, time::Duration};
use tests::{
    eventually,
    kinds::effects::{Light, Slow},
};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_doubles_and_crashes_nothing() {
    let mut place = Place::new().await;
    // Less than some of the runs take: these are put back.
    place.fleet.set("MILLRACE_SHUTDOWN_GRACE_MS", "300");
    let place = Arc::new(place);
    let mut old = place.fleet.ready_worker().await;
    let enough = CancellationToken::new();
    let enqueuing = tokio::spawn(enqueue_until(place.clone(), enough.clone()));
    for _ in 0..4 {
        let new = place.fleet.ready_worker().await;
        let ended =
            place.fleet.number("SELECT count(*) AS value FROM runs WHERE finished_at IS NOT NULL").await;
        assert!(old.stop(), "SIGTERM ends it well");
        old = new;
        eventually("service by the new worker", || async {
            let now =
                place.fleet.number("SELECT count(*) AS value FROM runs WHERE finished_at IS NOT NULL").await;
            (now > ended + 5).then_some(())
        })
        .await;
    }
    enough.cancel();
    enqueuing.await.unwrap();
    place.fleet.until_idle().await;
    place.expect_each_once().await;
    place.expect_no_crash().await;
    let stopped = place.fleet.number("SELECT count(*) AS value FROM workers WHERE state = 'stopped'").await;
    assert_eq!(stopped, 4);
}

async fn enqueue_until(place: Arc<Place>, enough: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_millis(15));
    while !enough.is_cancelled() {
        ticks.tick().await;
        place.fleet.enqueue(&Light {}).await;
        if rand::random_bool(0.2) {
            place.fleet.enqueue(&Slow { ms: rand::random_range(10..500) }).await;
        }
    }
}
