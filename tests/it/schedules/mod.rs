//! Schedules: when they fire and what becomes of ticks.

mod backfills;
mod leaders;
mod operated;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Digest;
use shared::{
    auth::Role,
    clock::{Clock, SystemClock},
    schedules::{Expression, MissingTime, RepeatedTime, Timetable, alerts},
};
use std::process::Command;
use tests::{App, AppOptions, browser::Browser, eventually, processes::Process};

async fn app() -> App {
    App::start_with(AppOptions { worker: false, kinds: tests::kinds::all(), ..AppOptions::default() }).await
}

/// Sends JSON.
async fn send(app: &App, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    app.send(app.request(method, path).json(&body)).await
}

/// Makes a schedule that would fire each day at midnight.
async fn make(app: &App, name: &str, more: Value) -> Value {
    let mut body = json!({ "name": name, "cron": "0 0 * * *", "kind": "noop" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, made) = send(app, Method::POST, "/api/v1/schedules", body).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    made
}

/// Looks for what is due, as the leader does each second.
async fn look(app: &App) -> usize {
    scheduler::look(&app.env.pool, &app.env.doorbells, app.env.kinds).await.expect("a look")
}

async fn ticks(app: &App, name: &str) -> Vec<Value> {
    let listing = app.get(&format!("/api/v1/schedules/{name}/ticks?limit=500")).await;
    listing["items"].as_array().unwrap().clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Ends every run that has not ended.
async fn end_runs(app: &App) {
    let sql = "UPDATE runs SET state = 'cancelled', finished_at = now() WHERE finished_at IS NULL";
    app.db.client.batch_execute(sql).await.expect("the end of the runs");
}

#[test]
fn fire_times_are_those_of_croniter() {
    const ZONES: &str =
        "Europe/Berlin|America/New_York|Australia/Lord_Howe|America/Sao_Paulo|Asia/Tehran|Africa/Casablanca";
    let mut compared = 0;
    for (first, last, expressions) in [
        (2005, 2025, "30 2 * * *|15 0-3 * * *|5 4 L * *|1 0 1 * MON|0 3 * * 0#1"),
        (2023, 2024, "30 * * * *|*/20 1-4 * * *"),
    ] {
        let python = std::env::var("MILLRACE_TEST_PYTHON")
            .expect("MILLRACE_TEST_PYTHON is not set: run the tests by ./run test");
        let output = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/files/fire_times.py"))
            .args([&first.to_string(), &last.to_string(), expressions, ZONES])
            .output()
            .expect("Python runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (begin, end) = (new_year(first), new_year(last));
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let fields: Vec<&str> = line.split('|').collect();
            let [cron, zone, missing, repeated, count, digest] = fields[..] else { panic!("{line}") };
            let timetable = Timetable {
                expression: Expression::read(cron).unwrap(),
                zone: zone.parse().unwrap(),
                missing: missing.parse::<MissingTime>().unwrap(),
                repeated: repeated.parse::<RepeatedTime>().unwrap(),
            };
            let mut hash = sha2::Sha256::new();
            let (mut fired, mut before) = (0, None);
            for at in timetable.between(begin, end) {
                assert!(before.is_none_or(|before| before < at), "{line}: {at} twice");
                hash.update(format!("{}\n", at.timestamp()));
                (fired, before) = (fired + 1, Some(at));
            }
            assert_eq!(
                (fired.to_string().as_str(), hex::encode(hash.finalize()).as_str()),
                (count, digest),
                "{line}"
            );
            compared += fired;
        }
    }
    assert!(compared > 1_000_000, "{compared}");
}

fn new_year(year: i32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(year, 1, 1, 0, 0, 0).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_three_days_without_a_scheduler_each_policy_does_what_it_says() {
    let app = app().await;
    for (name, policy) in [("skip", "skip"), ("once", "once"), ("all", "all"), ("few", "all")] {
        let limit = if name == "few" { 2 } else { 1000 };
        make(&app, name, json!({ "cron": "30 6 * * *", "catch_up": policy, "catch_up_limit": limit })).await;
    }
    make(&app, "often", json!({ "cron": "* * * * * *", "catch_up": "skip", "overlap": "allow" })).await;
    // Three days ago the scheduler went away; it was half past six three times since.
    app.db
        .client
        .batch_execute(
            "UPDATE schedules SET next_at = date_trunc('day', now()) + interval '6 hours 30 minutes'
                 - CASE WHEN now() > date_trunc('day', now()) + interval '6 hours 30 minutes'
                        THEN interval '2 days' ELSE interval '3 days' END
             WHERE name <> 'often';
             UPDATE schedules SET next_at = date_trunc('second', now()) - interval '3 days' WHERE name = 'often'",
        )
        .await
        .unwrap();
    let on_time: bool = app.db.one("SELECT now()::time BETWEEN '06:30' AND '06:32'", &[]).await;
    if on_time {
        // A tick of today would be on time by the minute, and not missed.
        return;
    }
    look(&app).await;
    let outcomes = |ticks: &[Value]| -> Vec<String> {
        ticks.iter().map(|tick| format!("{} {}", text(&tick["outcome"]), text(&tick["cause"]))).collect()
    };
    assert_eq!(outcomes(&ticks(&app, "skip").await), ["missed clock"; 3]);
    assert_eq!(outcomes(&ticks(&app, "once").await), ["fired catch_up", "missed clock", "missed clock"]);
    // Of those that are all caught up the oldest goes first, the others wait for its end.
    assert_eq!(
        outcomes(&ticks(&app, "all").await),
        ["waiting catch_up", "waiting catch_up", "fired catch_up"]
    );
    assert_eq!(outcomes(&ticks(&app, "few").await), ["waiting catch_up", "fired catch_up", "missed clock"]);
    for _ in 0..3 {
        end_runs(&app).await;
        look(&app).await;
    }
    assert_eq!(outcomes(&ticks(&app, "all").await), ["fired catch_up"; 3]);
    let runs = "SELECT count(*) FROM runs WHERE created_by = 'schedule ' || $1";
    for (name, expected) in [("skip", 0), ("once", 1), ("all", 3), ("few", 2)] {
        assert_eq!(app.db.one::<i64>(runs, &[&name]).await, expected, "{name}");
    }
    // What came within 15 seconds is on time, and each of it fires; of the 259,000 before a hundred are noted.
    let often = ticks(&app, "often").await;
    let fired = often.iter().filter(|tick| tick["outcome"] == "fired").count();
    assert!((15..=30).contains(&fired), "{fired}");
    assert_eq!(often.iter().filter(|tick| tick["outcome"] == "missed").count(), 100);
    let alerts = app.get("/api/v1/alerts").await;
    let of = |name: &str| {
        let found = alerts["items"].as_array().unwrap().iter().find(|alert| alert["subject"] == name);
        found.map(|alert| text(&alert["message"]).to_owned()).unwrap_or_default()
    };
    assert!(of("skip").starts_with("3 ticks up to"), "{alerts}");
    assert_eq!(of("once"), "", "one tick stands for all: {alerts}");
    assert!(of("few").starts_with("The tick of"), "{alerts}");
    assert!(of("often").starts_with("2591"), "{alerts}");
    assert_eq!(of("all"), "", "{alerts}");
    // Nothing is left to do.
    let next = app.get("/api/v1/schedules/skip").await["next_at"].as_str().unwrap().parse::<DateTime<Utc>>();
    assert!(next.unwrap() > SystemClock.now());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_overlaps_a_run_does_what_the_policy_says() {
    let app = app().await;
    for policy in ["skip", "queue", "cancel_running", "allow"] {
        make(&app, policy, json!({ "overlap": policy, "cron": "* * * * * *" })).await;
    }
    let outcomes = async |name: &str| -> Vec<String> {
        ticks(&app, name).await.iter().rev().map(|tick| text(&tick["outcome"]).to_owned()).collect()
    };
    // Four ticks at least, each on time, before any run has ended.
    let due = "UPDATE schedules SET next_at = date_trunc('second', clock_timestamp()) - interval '3 seconds'";
    app.db.client.execute(due, &[]).await.unwrap();
    look(&app).await;
    // From here on nothing is due; what happens is the policies' doing.
    app.db.client.execute("UPDATE schedules SET next_at = now() + interval '1 day'", &[]).await.unwrap();
    let skip = outcomes("skip").await;
    assert_eq!(skip[0], "fired");
    assert!(skip[1..].iter().all(|outcome| outcome == "skipped"), "{skip:?}");
    let queue = outcomes("queue").await;
    assert!(queue[0] == "fired" && queue[1..].iter().all(|outcome| outcome == "waiting"), "{queue:?}");
    assert!(outcomes("allow").await.iter().all(|outcome| outcome == "fired"));
    // The first run was available, so it is cancelled at once; the last tick took the place of those between.
    look(&app).await;
    let cancel = outcomes("cancel_running").await;
    assert_eq!(cancel.last().unwrap(), "fired", "{cancel:?}");
    assert_eq!(
        app.db.one::<i64>("SELECT count(*) FROM runs WHERE created_by = 'schedule cancel_running' AND state = 'available'", &[]).await,
        1
    );
    app.db
        .expect_nothing("SELECT * FROM runs WHERE created_by = 'schedule cancel_running' AND state NOT IN ('available', 'cancelled')")
        .await;
    // One after the other, what waited has its run.
    for _ in 0..queue.len() {
        end_runs(&app).await;
        look(&app).await;
    }
    assert!(outcomes("queue").await.iter().all(|outcome| outcome == "fired"));
    assert_eq!(
        app.db.one::<i64>("SELECT count(*) FROM runs WHERE created_by = 'schedule queue'", &[]).await,
        i64::try_from(queue.len()).unwrap()
    );
    let reason = ticks(&app, "skip").await[0]["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("the run before it had not ended ("), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paused_does_not_fire_and_is_not_caught_up() {
    let app = app().await;
    make(&app, "daily", json!({ "catch_up": "all", "catch_up_limit": 100 })).await;
    let (status, paused) =
        send(&app, Method::POST, "/api/v1/schedules/daily/pause", json!({ "reason": "move" })).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((&paused["enabled"], &paused["next_at"]), (&json!(false), &Value::Null), "{paused}");
    assert_eq!(paused["paused"]["reason"], "move");
    assert_eq!(paused["upcoming"], json!([]));
    look(&app).await;
    let until = (SystemClock.now() + TimeDelta::days(3)).to_rfc3339();
    let (_, paused) =
        send(&app, Method::POST, "/api/v1/schedules/daily/pause", json!({ "until": until })).await;
    let next: DateTime<Utc> = text(&paused["next_at"]).parse().unwrap();
    assert!(next > SystemClock.now() + TimeDelta::days(3), "{paused}");
    let (status, refused) =
        send(&app, Method::POST, "/api/v1/schedules/daily/pause", json!({ "until": "2020-01-01T00:00:00Z" }))
            .await;
    assert_eq!((status, &refused["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("until")), "{refused}");
    let (_, enabled) = app.post("/api/v1/schedules/daily/enable").await;
    assert_eq!((&enabled["enabled"], &enabled["paused"]), (&json!(true), &Value::Null), "{enabled}");
    assert_eq!(look(&app).await, 0);
    assert_eq!(ticks(&app, "daily").await.len(), 0);
    // A pause that ends by itself is over with the first tick.
    send(&app, Method::POST, "/api/v1/schedules/daily/pause", json!({ "until": until })).await;
    app.db
        .client
        .batch_execute("UPDATE schedules SET next_at = now(), paused_until = now() - interval '1 minute'")
        .await
        .unwrap();
    assert_eq!(look(&app).await, 1);
    let fired = app.get("/api/v1/schedules/daily").await;
    assert_eq!((&fired["enabled"], &fired["paused"]), (&json!(true), &Value::Null), "{fired}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_remembers_how_its_run_ended() {
    let app = app().await;
    make(&app, "daily", json!({ "overlap": "allow" })).await;
    app.post("/api/v1/schedules/daily/run").await;
    end_runs(&app).await;
    app.db.client.execute("DELETE FROM runs", &[]).await.unwrap();
    let tick = ticks(&app, "daily").await.remove(0);
    assert_eq!((&tick["outcome"], &tick["run_state"]), (&json!("fired"), &json!("cancelled")), "{tick}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_should_have_run_and_did_not_raises_an_alert_once() {
    let app = app().await;
    make(&app, "daily", json!({})).await;
    let mut conn = app.env.pool.get().await.unwrap();
    assert!(alerts::watch(&mut conn).await.unwrap().is_empty());
    app.db
        .client
        .execute("UPDATE schedules SET next_at = now() - interval '100 seconds'", &[])
        .await
        .unwrap();
    assert_eq!(alerts::watch(&mut conn).await.unwrap().len(), 1);
    assert!(alerts::watch(&mut conn).await.unwrap().is_empty());
    let open = app.get("/api/v1/alerts").await;
    assert_eq!(open["items"][0]["kind"], "schedule_overdue", "{open}");
    assert!(text(&open["items"][0]["message"]).contains("Is a scheduler running"), "{open}");
    let browser = Browser::log_in(&app, Role::Operator).await;
    let overview = browser.page("/ui").await;
    assert!(overview.contains("Schedule daily: It was due at"), "{overview}");
    assert!(browser.page("/ui/schedules").await.contains("No scheduler leads"));
    // A scheduler comes: it fires, and the alert ends by itself; that the tick was late stays on its line.
    look(&app).await;
    alerts::watch(&mut conn).await.unwrap();
    assert_eq!(app.get("/api/v1/alerts").await["items"], json!([]));
    assert_eq!(app.get("/api/v1/alerts?all=true").await["items"].as_array().unwrap().len(), 1);

    // A run that nobody had time for, until it was given up.
    app.db
        .client
        .batch_execute(
            "UPDATE runs SET state = 'discarded', reason = 'expired', finished_at = now() WHERE state = 'available'",
        )
        .await
        .unwrap();
    let raised = alerts::watch(&mut conn).await.unwrap();
    assert_eq!(raised.iter().map(|alert| alert.kind.as_str()).collect::<Vec<_>>(), ["schedule_unstarted"]);
    let (status, seen) = app.post(&format!("/api/v1/alerts/{}/acknowledge", raised[0].id)).await;
    assert_eq!(status, StatusCode::OK);
    assert!(!seen["acknowledged_by"].is_null(), "{seen}");
    assert_eq!(app.get("/api/v1/alerts").await["items"], json!([]));
    assert_eq!(app.post("/api/v1/alerts/99999/acknowledge").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn built_in_schedules_are_made_once_and_what_an_operator_changes_stays() {
    let app = App::start_with(AppOptions { worker: false, ..AppOptions::default() }).await;
    let environment = |nightly: &'static str| {
        [("DATABASE_URL", app.db.url.clone()), ("MILLRACE_NIGHTLY", nightly.to_owned())]
    };
    let start = |nightly: &'static str| {
        let owned = environment(nightly);
        let borrowed: Vec<(&str, &str)> = owned.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Process::millrace(&["scheduler"], &borrowed)
    };
    let names = async || -> Vec<String> {
        let listing = app.get("/api/v1/schedules").await;
        let mut names: Vec<String> =
            listing["items"].as_array().unwrap().iter().map(|one| text(&one["name"]).to_owned()).collect();
        names.sort();
        names
    };
    let mut scheduler = start("");
    let expected = [
        "daily_summaries",
        "nightly_data",
        "prune_files",
        "prune_notifications",
        "prune_redis",
        "prune_runs",
        "refresh_client_summary",
        "verify_ledger",
        "verify_summaries",
    ];
    eventually("the built-in schedules", async || (names().await == expected).then_some(())).await;
    // With a database of somebody's own, data is generated only if it is asked for.
    let nightly = app.get("/api/v1/schedules/nightly_data").await;
    assert_eq!(
        (&nightly["enabled"], &nightly["paused"]["by"]),
        (&json!(false), &json!("millrace")),
        "{nightly}"
    );
    let listing = app.get("/api/v1/schedules").await;
    assert!(text(&listing["leader"]).ends_with(&format!(":{}", scheduler.id())), "{listing}");
    let (status, _) = app.send(app.request(Method::DELETE, "/api/v1/schedules/prune_runs")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (status, _) =
        send(&app, Method::PATCH, "/api/v1/schedules/prune_runs", json!({ "name": "other" })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (status, _) =
        send(&app, Method::PATCH, "/api/v1/schedules/prune_runs", json!({ "cron": "@daily" })).await;
    assert_eq!(status, StatusCode::OK);
    scheduler.kill();

    let mut scheduler = start("true");
    eventually("the nightly data", async || {
        (app.get("/api/v1/schedules/nightly_data").await["enabled"] == true).then_some(())
    })
    .await;
    assert_eq!(app.get("/api/v1/schedules/prune_runs").await["cron"], "@daily");
    // What an operator has paused stays so; what is not there is made again.
    app.post("/api/v1/schedules/nightly_data/pause").await;
    scheduler.kill();
    app.db.client.execute("DELETE FROM schedules WHERE name = 'prune_redis'", &[]).await.unwrap();
    let _scheduler = start("true");
    eventually("the built-in schedules", async || (names().await == expected).then_some(())).await;
    assert_eq!(app.get("/api/v1/schedules/nightly_data").await["enabled"], false);
}
