//! Schedules: when they fire, what becomes of ticks, and the scheduler that leads.

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Digest;
use shared::{
    auth::Role,
    clock::{Clock, SystemClock},
    db,
    schedules::{Expression, MissingTime, RepeatedTime, Timetable, alerts, built_in, firing, queries},
};
use std::process::Command;
use tests::{
    App, AppOptions, TestDatabase,
    browser::{Browser, location},
    eventually,
    processes::Process,
};

const HOLDER: &str = "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND l.objid = 7241003 AND l.granted AND d.datname = current_database()";

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
async fn what_cannot_be_used_is_said_field_by_field() {
    let app = app().await;
    let wrong = json!({ "name": "No Good", "cron": "61 * * * *", "zone": "Mars/Base", "kind": "nothing",
                        "catch_up_limit": 0, "description": "x".repeat(501) });
    let (status, problem) = send(&app, Method::POST, "/api/v1/schedules", wrong).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let fields: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|error| text(&error["field"])).collect();
    assert_eq!(fields, ["name", "description", "cron", "zone", "catch_up_limit", "kind"], "{problem}");
    for (body, field, said) in [
        (json!({ "name": "a", "kind": "noop" }), "cron", "has to have a cron expression"),
        (json!({ "name": "a", "cron": "0 0 30 2 *", "kind": "noop" }), "cron", "never comes"),
        (
            json!({ "name": "a", "cron": "@daily", "kind": "ingest_chunk" }),
            "kind",
            "cannot be put on a clock",
        ),
        (
            json!({ "name": "a", "cron": "@daily", "kind": "noop", "args": { "x": 1 } }),
            "args.x",
            "no such argument",
        ),
        (
            json!({ "name": "a", "cron": "@daily", "kind": "only", "args": { "key": "{{ tomorrow }}" } }),
            "args",
            "no placeholder",
        ),
        (
            json!({ "name": "a", "cron": "@daily", "kind": "noop", "missing": "wait" }),
            "missing",
            "none of skip, shift",
        ),
        (json!({ "name": "a", "cron": "@daily", "kind": "noop", "colour": 1 }), "colour", "unknown field"),
    ] {
        let (status, problem) = send(&app, Method::POST, "/api/v1/schedules", body).await;
        assert_eq!((status, text(&problem["field"])), (StatusCode::UNPROCESSABLE_ENTITY, field), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
    }
    let made = make(&app, "a", json!({ "cron": "@hourly", "zone": "America/New_York" })).await;
    assert_eq!(
        (&made["repeated"], &made["cron_words"]),
        (&json!("both"), &json!("At minute 0 past every hour."))
    );
    let (status, _) = send(
        &app,
        Method::POST,
        "/api/v1/schedules",
        json!({ "name": "a", "cron": "@daily", "kind": "noop" }),
    )
    .await;
    assert_eq!(status, StatusCode::CONFLICT);

    // Only what is given changes; who was overtaken is told.
    let (status, edited) =
        send(&app, Method::PATCH, "/api/v1/schedules/a", json!({ "cron": "5 0 * * *", "version": 1 })).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&edited["version"], &edited["zone"], &edited["repeated"]),
        (&json!(2), &json!("America/New_York"), &json!("first")),
        "{edited}"
    );
    let (status, stale) =
        send(&app, Method::PATCH, "/api/v1/schedules/a", json!({ "cron": "6 0 * * *", "version": 1 })).await;
    assert_eq!((status, text(&stale["field"])), (StatusCode::CONFLICT, "version"), "{stale}");
    // A tick that is just due is not lost by it, nor is a policy that is asked for with an expression.
    app.db.client.execute("UPDATE schedules SET next_at = now() - interval '2 seconds'", &[]).await.unwrap();
    let (_, said) =
        send(&app, Method::PATCH, "/api/v1/schedules/a", json!({ "description": "x", "version": 2 })).await;
    assert!(text(&said["next_at"]).parse::<DateTime<Utc>>().unwrap() < SystemClock.now(), "{said}");
    let body = json!({ "cron": "@hourly", "repeated": "first", "description": null });
    let (_, asked) = send(&app, Method::PATCH, "/api/v1/schedules/a", body).await;
    assert_eq!((&asked["repeated"], &asked["version"]), (&json!("first"), &json!(4)), "{asked}");
    let (_, same) = send(&app, Method::PATCH, "/api/v1/schedules/a", json!({})).await;
    assert_eq!(same["version"], 4, "{same}");
    let (_, named) =
        send(&app, Method::PATCH, "/api/v1/schedules/a", json!({ "name": "b", "description": "what" })).await;
    assert_eq!((&named["name"], &named["description"]), (&json!("b"), &json!("what")));
    let (_, cleared) = send(&app, Method::PATCH, "/api/v1/schedules/b", json!({ "description": null })).await;
    assert_eq!(cleared["description"], Value::Null);
    assert_eq!(app.send(app.request(Method::GET, "/api/v1/schedules/a")).await.0, StatusCode::NOT_FOUND);
    let (status, _) = app.send(app.request(Method::DELETE, "/api/v1/schedules/b")).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let audited = "SELECT count(*) FROM audit_log WHERE action LIKE 'schedule.%'";
    assert_eq!(app.db.one::<i64>(audited, &[]).await, 7);
    for role in [Role::Viewer, Role::Integration] {
        let token = app.token(role).await;
        let request = app.anonymous(Method::POST, "/api/v1/schedules").bearer_auth(&token).json(&json!({}));
        assert_eq!(app.send(request).await.0, StatusCode::FORBIDDEN, "{role}");
        let request = app.anonymous(Method::GET, "/api/v1/schedules").bearer_auth(&token);
        assert_eq!(app.send(request).await.0, StatusCode::OK, "{role}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_is_read_with_the_changes_of_the_clock() {
    let app = app().await;
    let read = app.get("/api/v1/cron?cron=30+2+*+*+*&zone=Europe/Berlin&after=2027-03-27&missing=skip").await;
    assert_eq!(read["words"], "At 02:30.");
    let times = read["upcoming"].as_array().unwrap();
    // Five that fire, and the one that the day does not have.
    assert_eq!(times.len(), 6, "{read}");
    assert_eq!((&times[1]["clock_change"], &times[1]["fires"]), (&json!("skipped"), &json!(false)), "{read}");
    assert!(text(&times[1]["note"]).contains("there is no 02:30"), "{read}");
    assert_eq!(times[2]["local"], "2027-03-29T02:30:00+02:00");
    assert_eq!(times[2]["at"], "2027-03-29T00:30:00Z");
    for (query, field) in [
        ("cron=1+2+3", "cron"),
        ("cron=@daily&zone=Moon", "zone"),
        ("cron=@daily&repeated=never", "repeated"),
    ] {
        let (status, problem) = app.send(app.request(Method::GET, &format!("/api/v1/cron?{query}"))).await;
        assert_eq!((status, text(&problem["field"])), (StatusCode::BAD_REQUEST, field), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_run_by_hand_with_its_own_or_other_arguments() {
    let app = app().await;
    make(&app, "only", json!({ "kind": "only", "args": { "key": "{{ date }}" }, "zone": "Asia/Tehran" }))
        .await;
    let (status, run) = app.post("/api/v1/schedules/only/run").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{run}");
    let today = SystemClock.now().with_timezone(&chrono_tz::Asia::Tehran).date_naive().to_string();
    assert_eq!(run["args"]["key"], today.as_str());
    // The run that excludes others stands for the second.
    let (status, same) = app.post("/api/v1/schedules/only/run").await;
    assert_eq!((status, &same["id"]), (StatusCode::OK, &run["id"]));
    let body = json!({ "args": { "key": "other" } });
    let (status, other) = send(&app, Method::POST, "/api/v1/schedules/only/run", body).await;
    assert_eq!((status, &other["args"]["key"]), (StatusCode::ACCEPTED, &json!("other")));
    let (status, refused) =
        send(&app, Method::POST, "/api/v1/schedules/only/run", json!({ "args": {} })).await;
    assert_eq!((status, text(&refused["field"])), (StatusCode::UNPROCESSABLE_ENTITY, "args"), "{refused}");
    assert!(text(&refused["detail"]).contains("missing field `key`"), "{refused}");
    let outcomes: Vec<Value> =
        ticks(&app, "only").await.into_iter().map(|tick| tick["outcome"].clone()).collect();
    assert_eq!(outcomes, ["fired", "joined", "fired"]);
    // The same request twice is one run.
    let twice = || {
        app.request(Method::POST, "/api/v1/schedules/only/run")
            .header("Idempotency-Key", "k")
            .json(&json!({ "args": { "key": "third" } }))
    };
    let (first, second) = (app.send(twice()).await, app.send(twice()).await);
    assert_eq!((first.0, second.0, &first.1["id"]), (StatusCode::ACCEPTED, StatusCode::OK, &second.1["id"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_runs_what_is_missing_or_failed_a_few_at_once_behind_live_work() {
    let app = App::start_with(AppOptions { kinds: tests::kinds::all(), ..AppOptions::default() }).await;
    make(&app, "daily", json!({ "kind": "stamp", "cron": "30 5 * * *" })).await;
    let id: uuid::Uuid = app.db.one("SELECT id FROM schedules WHERE name = 'daily'", &[]).await;
    // Of ten days one is done, one has failed, one was skipped.
    app.db
        .client
        .execute(
            "INSERT INTO schedule_ticks (schedule_id, nominal_at, outcome, cause, run_id, run_ended)
             VALUES ($1, '2026-03-02 05:30Z', 'fired', 'clock', gen_random_uuid(), 'completed'),
                    ($1, '2026-03-03 05:30Z', 'fired', 'clock', gen_random_uuid(), 'failed'),
                    ($1, '2026-03-04 05:30Z', 'skipped', 'clock', NULL, NULL)",
            &[&id],
        )
        .await
        .unwrap();
    let path = "/api/v1/schedules/daily/backfill";
    let seen = app.get(&format!("{path}?from=2026-03-01&until=2026-03-10")).await;
    assert_eq!((seen["chosen"].as_i64(), seen["times"].as_array().unwrap().len()), (Some(9), 10), "{seen}");
    assert_eq!(seen["times"][1]["standing"], "done");
    assert_eq!(seen["times"][2]["standing"], "failed");
    let body = json!({ "from": "2026-03-01", "until": "2026-03-10", "at_once": 2 });
    let (status, run) = send(&app, Method::POST, path, body.clone()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{run}");
    let ended = eventually("the end of the backfill", async || {
        let run = app.get(&format!("/api/v1/runs/{}", text(&run["id"]))).await;
        (!run["finished_at"].is_null()).then_some(run)
    })
    .await;
    assert_eq!(ended["state"], "completed", "{ended}");
    assert_eq!(ended["result"], json!({ "schedule": "daily", "times": 9 }));
    let made = "SELECT count(*) FROM runs WHERE created_by = 'backfill of daily' AND priority >= 10000";
    assert_eq!(app.db.one::<i64>(made, &[]).await, 9);
    // Oldest first, and never more than two at once.
    let crowd = "SELECT count(*) FROM runs a JOIN runs b ON b.created_by = a.created_by
                 AND b.created_at <= a.created_at AND b.finished_at > a.created_at
                 WHERE a.created_by = 'backfill of daily' GROUP BY a.id ORDER BY 1 DESC LIMIT 1";
    assert!(app.db.one::<i64>(crowd, &[]).await <= 2);
    app.db
        .expect_nothing(
            "SELECT * FROM schedule_ticks a JOIN runs r ON r.id = a.run_id JOIN schedule_ticks b ON true
             JOIN runs s ON s.id = b.run_id WHERE a.nominal_at < b.nominal_at AND r.id > s.id",
        )
        .await;
    // Nothing is left to do, unless all of it is wanted.
    let (status, refused) = send(&app, Method::POST, path, body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    assert!(text(&refused["detail"]).contains("Nothing is to be done"), "{refused}");
    let all = app.get(&format!("{path}?from=2026-03-01&until=2026-03-10&all=true")).await;
    assert_eq!(all["chosen"], 10);
    for (body, said) in [
        (json!({ "from": "2026-03-10", "until": "2026-03-01" }), "ends before it begins"),
        (json!({ "from": "2199-03-10" }), "range is empty"),
        (json!({ "from": "1970-01-01" }), "more than 10000"),
        (json!({ "from": "yesterday" }), "is a day"),
        (json!({ "from": "2026-03-01", "at_once": 0 }), "1 to 50"),
    ] {
        let (status, refused) = send(&app, Method::POST, path, body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
        assert!(text(&refused["detail"]).contains(said), "{said}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_that_is_cancelled_leaves_its_times_to_the_next() {
    let app = app().await;
    make(&app, "daily", json!({})).await;
    let body = json!({ "from": "2026-03-01", "until": "2026-03-05" });
    let path = "/api/v1/schedules/daily/backfill";
    let (_, run) = send(&app, Method::POST, path, body.clone()).await;
    // While it waits its times are its own, and the schedule stays.
    let (status, refused) = send(&app, Method::POST, path, body.clone()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(text(&refused["detail"]).contains("5 of them run or wait"), "{refused}");
    let (status, refused) = app.send(app.request(Method::DELETE, "/api/v1/schedules/daily")).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(text(&refused["detail"]).contains(text(&run["id"])), "{refused}");
    app.post(&format!("/api/v1/runs/{}/cancel", text(&run["id"]))).await;
    queries::drop_abandoned(&mut app.env.pool.get().await.unwrap()).await.unwrap();
    let (status, _) = send(&app, Method::POST, path, body).await;
    assert_eq!(status, StatusCode::ACCEPTED);
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
async fn a_person_makes_changes_pauses_and_fills_in_schedules_on_the_pages() {
    let app = app().await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let csrf = browser.csrf.clone();
    let send = async |path: &str, fields: &[(&str, &str)]| {
        let mut form = vec![("csrf_token", csrf.as_str())];
        form.extend(fields);
        browser.post(path, &form).await
    };
    let typed = [("name", "reports"), ("zone", "Europe/Berlin"), ("kind", "noop"), ("args", "{}")];
    let with = |more: &[(&'static str, &'static str)]| [&typed[..], more].concat();
    assert!(browser.page("/ui/schedules").await.contains("No schedules yet"));
    assert!(browser.page("/ui/schedules/new").await.contains("Make the schedule"));
    // What is wrong is said at its field, and what was typed stays.
    let refused = send("/ui/schedules", &with(&[("cron", "61 * * * *")])).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let refused = refused.text().await.unwrap();
    assert!(refused.contains("The minute cannot be") && refused.contains("value=\"reports\""), "{refused}");
    // Looking at the times makes nothing.
    let seen = send("/ui/schedules", &with(&[("cron", "30 2 * * *"), ("look", "yes")])).await;
    let seen = seen.text().await.unwrap();
    assert!(seen.contains("At 02:30."), "{seen}");
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM schedules", &[]).await, 0);
    let made = send("/ui/schedules", &with(&[("cron", "30 2 * * *")])).await;
    assert_eq!(location(&made), "/ui/schedules/reports?notice=schedule-made");
    let page = browser.page("/ui/schedules/reports").await;
    assert!(
        page.contains("At 02:30.") && page.contains("In Europe/Berlin") && page.contains("In UTC"),
        "{page}"
    );

    let edit = browser.page("/ui/schedules/reports/edit").await;
    assert!(edit.contains("name=\"version\" value=\"1\""), "{edit}");
    let saved = send("/ui/schedules/reports/edit", &with(&[("cron", "@hourly"), ("version", "1")])).await;
    assert_eq!(location(&saved), "/ui/schedules/reports?notice=schedule-saved");
    let stale = send("/ui/schedules/reports/edit", &with(&[("cron", "@daily"), ("version", "1")])).await;
    assert_eq!(stale.status(), StatusCode::CONFLICT);
    assert!(stale.text().await.unwrap().contains("was changed since you read it"));

    let ran = location(&send("/ui/schedules/reports/run", &[]).await);
    assert!(ran.starts_with("/ui/runs/") && ran.ends_with("?notice=schedule-run"), "{ran}");
    assert!(browser.page("/ui/schedules/reports/run").await.contains("Run it now"));
    let wrong = send("/ui/schedules/reports/run", &[("args", "{")]).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);

    send("/ui/schedules/reports/pause", &[("reason", "<b>audit</b>"), ("until", "")]).await;
    let page = browser.page("/ui/schedules/reports").await;
    assert!(page.contains("audit") && !page.contains("<b>audit"), "{page}");
    let past = send("/ui/schedules/reports/pause", &[("until", "2020-01-01T00:00")]).await;
    assert_eq!(past.status(), StatusCode::UNPROCESSABLE_ENTITY);
    send("/ui/schedules/reports/enable", &[]).await;
    assert_eq!(app.get("/api/v1/schedules/reports").await["enabled"], true);

    let page = browser.page("/ui/schedules/reports/backfill?from=2026-03-01&until=2026-03-01").await;
    assert!(page.contains("24 times of 24 would run"), "{page}");
    let range = [("from", "2026-03-01"), ("until", "2026-03-01"), ("at_once", "3")];
    let run = location(&send("/ui/schedules/reports/backfill", &range).await);
    assert!(run.ends_with("?notice=backfilling"), "{run}");
    assert_eq!(
        send("/ui/schedules/reports/backfill", &range).await.status(),
        StatusCode::UNPROCESSABLE_ENTITY
    );

    // Deleting asks first; a schedule that is being filled in stays.
    let run = run.trim_start_matches("/ui/runs/").split('?').next().unwrap();
    assert_eq!(
        send("/ui/schedules/reports/delete", &[("confirmed", "yes")]).await.status(),
        StatusCode::CONFLICT
    );
    app.post(&format!("/api/v1/runs/{run}/cancel")).await;
    let asked = send("/ui/schedules/reports/delete", &[]).await.text().await.unwrap();
    assert!(asked.contains("Delete the schedule reports?"), "{asked}");
    let gone = send("/ui/schedules/reports/delete", &[("confirmed", "yes")]).await;
    assert_eq!(location(&gone), "/ui/schedules?notice=schedule-deleted");
    let viewer = Browser::log_in(&app, Role::Viewer).await;
    assert!(viewer.page("/ui/schedules").await.contains("needs the role operator"));
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

#[tokio::test(flavor = "multi_thread")]
async fn the_nightly_schedule_loads_the_day_before_and_a_backfill_the_days_before_that() {
    let app = App::start_with(AppOptions { zone: chrono_tz::Europe::Berlin, ..AppOptions::default() }).await;
    let kinds = shared::runs::registry::KINDS;
    {
        let mut conn = app.env.pool.get().await.unwrap();
        built_in::ensure(&mut conn, kinds, app.env.settings.zone, true).await.unwrap();
    }
    let nightly = app.get("/api/v1/schedules/nightly_data").await;
    assert_eq!(
        (&nightly["cron"], &nightly["zone"]),
        (&json!("1 0 * * *"), &json!("Europe/Berlin")),
        "{nightly}"
    );
    app.db
        .client
        .execute("UPDATE schedules SET next_at = now() WHERE name = 'nightly_data'", &[])
        .await
        .unwrap();
    assert_eq!(look(&app).await, 1);
    let run = text(&ticks(&app, "nightly_data").await[0]["run_id"]).to_owned();
    let ended = async |id: &str| {
        eventually("the end of a run", async || {
            let run = app.get(&format!("/api/v1/runs/{id}")).await;
            (!run["finished_at"].is_null()).then_some(run)
        })
        .await
    };
    let night = ended(&run).await;
    assert_eq!(night["state"], "completed", "{night}");
    let yesterday =
        (SystemClock.now().with_timezone(&chrono_tz::Europe::Berlin) - TimeDelta::days(1)).date_naive();
    assert_eq!(night["result"]["day"], yesterday.to_string(), "{night}");
    let loaded =
        "SELECT count(*) FROM transactions WHERE (occurred_at AT TIME ZONE 'Europe/Berlin')::date = $1";
    assert_eq!(app.db.one::<i64>(loaded, &[&yesterday]).await, 1_000);

    // The nights before, and all of them once more: a day has its transactions once.
    let body = json!({ "from": (yesterday - TimeDelta::days(2)).to_string(), "until": yesterday.to_string(), "all": true });
    for _ in 0..2 {
        let (status, run) =
            send(&app, Method::POST, "/api/v1/schedules/nightly_data/backfill", body.clone()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{run}");
        let filled = ended(text(&run["id"])).await;
        assert_eq!(
            (&filled["state"], &filled["result"]["times"]),
            (&json!("completed"), &json!(3)),
            "{filled}"
        );
    }
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM transactions", &[]).await, 4_000);
    // The steps that a flow adds are behind live work as its root is; the clients' summary is everybody's.
    app.db
        .expect_nothing(
            "SELECT s.kind, s.priority FROM runs s JOIN runs f ON f.id = s.flow_id
             WHERE f.created_by = 'backfill of nightly_data' AND s.priority < 10000
               AND s.kind <> 'refresh_client_summary'",
        )
        .await;
    tests::files::expect_everything_exact(&app.db).await;
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
