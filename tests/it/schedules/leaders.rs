//! The scheduler that leads, of several.

use super::{app, end_runs, look, make};
use serde_json::json;
use shared::{
    db,
    schedules::{firing, queries},
};
use tests::{TestDatabase, eventually, processes::Process};

const HOLDER: &str = "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND l.objid = 7241003 AND l.granted AND d.datname = current_database()";

#[tokio::test(flavor = "multi_thread")]
async fn two_schedulers_fire_a_tick_once() {
    let app = app().await;
    make(&app, "daily", json!({})).await;
    for round in 1..=5 {
        // A second of its own for each round, all of them on time.
        let due = "UPDATE schedules SET next_at = date_trunc('second', now()) - $1 * interval '1 second'";
        app.db.client.execute(due, &[&(12.0 - 2.0 * round as f64)]).await.unwrap();
        let id = queries::due(&mut app.env.pool.get().await.unwrap()).await.unwrap()[0];
        let pools = [0, 1].map(|_| db::pool(&app.db.config(), "test").expect("a pool"));
        let firing =
            (0..10).map(|turn| {
                let pool = pools[turn % 2].clone();
                async move {
                    firing::fire(&mut pool.get().await.unwrap(), tests::kinds::all(), id).await.unwrap()
                }
            });
        let fired: usize =
            futures::future::join_all(firing).await.into_iter().flatten().map(|fired| fired.runs).sum();
        assert_eq!(fired, 1, "round {round}");
        assert_eq!(app.db.one::<i64>("SELECT count(*) FROM runs", &[]).await, round);
        // The same nominal time again makes no second run, even if somebody set the clock of the schedule back.
        let back = "UPDATE schedules SET next_at = (SELECT max(nominal_at) FROM schedule_ticks)";
        app.db.client.execute(back, &[]).await.unwrap();
        assert_eq!(look(&app).await, 0);
        end_runs(&app).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_worker_watches_whether_schedules_fire() {
    let app = app().await;
    make(&app, "daily", json!({})).await;
    app.db.client.execute("UPDATE schedules SET next_at = now() - interval '1 day'", &[]).await.unwrap();
    let data = tempfile::tempdir().unwrap();
    let environment =
        [("DATABASE_URL", app.db.url.as_str()), ("MILLRACE_DATA_DIR", data.path().to_str().unwrap())];
    let _worker = Process::millrace(&["worker"], &environment);
    eventually("an alert", async || {
        let open = app.get("/api/v1/alerts").await;
        (open["items"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
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
async fn a_leader_that_stands_still_is_followed_and_comes_back_as_one_of_many() {
    let database = TestDatabase::create().await;
    let environment = [("DATABASE_URL", database.url.as_str())];
    let first = Process::millrace(&["scheduler"], &environment);
    let leader = holder(&database, None).await;
    let _second = Process::millrace(&["scheduler"], &environment);
    first.freeze();
    let second = holder(&database, Some(leader)).await;
    first.thaw();
    let made = "SELECT count(*) FROM schedules WHERE built_in";
    eventually("the built-in schedules", async || (database.one::<i64>(made, &[]).await == 9).then_some(()))
        .await;
    assert_eq!(holder(&database, Some(leader)).await, second);
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
