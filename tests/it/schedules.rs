//! Ticks and the scheduler that leads.

use chrono::DateTime;
use shared::db;
use tests::{TestDatabase, eventually, processes::Process};

const HOLDER: &str = "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND l.objid = 7241003 AND l.granted AND d.datname = current_database()";

#[tokio::test(flavor = "multi_thread")]
async fn two_schedulers_fire_a_tick_once() {
    let database = TestDatabase::create().await;
    let nominal = DateTime::from_timestamp(1_760_000_820, 0).expect("a time");
    let pools = [0, 1].map(|_| db::pool(&database.config(), "test").expect("a pool"));
    let firing = (0..10).map(|turn| scheduler::fire(&pools[turn % 2], "refresh_client_summary", nominal));
    let fired = futures::future::try_join_all(firing).await.expect("ticks are written");
    assert_eq!(fired.iter().filter(|fired| **fired).count(), 1);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM runs", &[]).await, 1);

    // The run's end frees its unique key; the tick stays fired all the same.
    database
        .client
        .batch_execute("UPDATE runs SET state = 'cancelled', finished_at = now()")
        .await
        .expect("an end");
    assert!(!scheduler::fire(&pools[0], "refresh_client_summary", nominal).await.expect("no error"));
    let next = nominal + chrono::Duration::hours(1);
    assert!(scheduler::fire(&pools[1], "refresh_client_summary", next).await.expect("a tick"));
    assert_eq!(database.one::<i64>("SELECT count(*) FROM runs", &[]).await, 2);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM ticks WHERE run_id IS NULL", &[]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_followed_within_five_seconds() {
    let database = TestDatabase::create().await;
    let environment = [("DATABASE_URL", database.url.as_str())];
    let mut first = Process::millrace(&["scheduler"], &environment);
    let leader = holder(&database, None).await;
    let _second = Process::millrace(&["scheduler"], &environment);
    let killed = std::time::Instant::now();
    first.kill();
    holder(&database, Some(leader)).await;
    assert!(killed.elapsed() < std::time::Duration::from_secs(5), "took {:?}", killed.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_loses_its_connection_leads_anew() {
    let database = TestDatabase::create().await;
    let _scheduler = Process::millrace(&["scheduler"], &[("DATABASE_URL", database.url.as_str())]);
    let leader = holder(&database, None).await;
    database.client.execute("SELECT pg_terminate_backend($1)", &[&leader]).await.expect("its end");
    holder(&database, Some(leader)).await;
}

/// Waits for a backend that leads and is not `before`.
async fn holder(database: &TestDatabase, before: Option<i32>) -> i32 {
    eventually("a scheduler that leads", || async {
        let row = database.client.query_opt(HOLDER, &[]).await.expect("pg_locks");
        row.map(|row| row.get::<_, i32>(0)).filter(|pid| Some(*pid) != before)
    })
    .await
}
