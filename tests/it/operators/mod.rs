//! What operators see and do: why runs wait, queues, kinds, workers, failures, actions on many runs,
//! clones. Through the API; `pages` does the same through the pages.

mod pages;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{
    auth::Role,
    ids::{RunId, WorkerId},
    runs::{
        EnqueueOptions, Finished, Job, JobError, Queue, Retry, RunContext, Unique, enqueue,
        jobs::{CancelRuns, RetryRuns},
        queries,
        registry::Kind,
        workers,
    },
};
use std::time::Duration;
use tests::{
    App, AppOptions,
    browser::{Browser, location},
    eventually,
};

/// Greets, unless it is to fail.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Greet {
    /// Whom; `nobody` fails.
    name: String,
    times: u32,
}

/// One at a time, and never again by hand.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Sealed {
    key: String,
}

shared::job_registry! {
    /// The kinds of these tests.
    static OWN = [Greet, Sealed];
}

static KINDS: &[Kind] =
    &[Kind::of::<Greet>(), Kind::of::<Sealed>(), Kind::of::<RetryRuns>(), Kind::of::<CancelRuns>()];

impl Job for Greet {
    const KIND: &'static str = "greet";
    const QUEUE: Queue = Queue::Default;
    const RETRY: Retry = Retry::Fixed(&[Duration::from_secs(3600)]);
    const TIMEOUT: Duration = Duration::from_secs(10);

    async fn run(self, _context: RunContext) -> Result<Finished, JobError> {
        match self.name.as_str() {
            "nobody" => Err(JobError::fail(anyhow::anyhow!("nobody to greet"))),
            name => Ok(Finished::Result(json!(format!("hello {name}")))),
        }
    }
}

impl Job for Sealed {
    const KIND: &'static str = "sealed";
    const QUEUE: Queue = Queue::Light;
    const RETRY: Retry = Retry::Never;
    const TIMEOUT: Duration = Duration::from_secs(10);
    const UNCLONABLE: Option<&'static str> = Some("it belongs to its key");

    fn unique(&self) -> Option<Unique> {
        Some(Unique { key: self.key.clone(), states: Unique::UNTIL_FINISHED })
    }

    async fn run(self, _context: RunContext) -> Result<Finished, JobError> {
        Ok(Finished::Result(json!({})))
    }
}

async fn app(worker: bool) -> App {
    assert_eq!(OWN.len(), 2);
    App::start_with(AppOptions { kinds: KINDS, worker, ..AppOptions::default() }).await
}

fn greet(name: &str) -> Greet {
    Greet { name: name.to_owned(), times: 1 }
}

async fn put(app: &App, name: &str) -> RunId {
    put_at(app, name, None).await
}

async fn put_at(app: &App, name: &str, run_at: Option<DateTime<Utc>>) -> RunId {
    let options = EnqueueOptions { run_at, ..EnqueueOptions::by("test") };
    let mut conn = app.env.pool.get().await.unwrap();
    let run = enqueue(&mut conn, &greet(name), &options).await.unwrap();
    app.env.doorbells.ring(Queue::Default, 1);
    run.id
}

/// A worker that only says that it is there: it claims what tests tell it to.
async fn worker(app: &App, slots: i64) -> WorkerId {
    let id = WorkerId::generate();
    let introduction = workers::Introduction {
        id,
        host: "mill-1",
        version: "1.2.3",
        slots: json!({ "default": slots, "light": 50 }),
        kinds: vec!["greet", "sealed"],
        lease: Duration::from_secs(3600),
    };
    workers::register(&mut app.env.pool.get().await.unwrap(), &introduction).await.unwrap();
    id
}

/// The first that is due runs on the worker.
async fn claim(app: &App, worker: WorkerId) -> queries::ClaimedRun {
    let mut conn = app.env.pool.get().await.unwrap();
    let kinds = ["greet", "sealed"];
    queries::claim_runs(&mut conn, "default", worker, 1, &kinds, &[]).await.unwrap().remove(0)
}

/// Ends the claimed run's attempt.
async fn close(app: &App, run: &queries::ClaimedRun, outcome: &str, error: &str) {
    let closings = json!([{ "id": run.id, "token": run.claim_token, "outcome": outcome, "delay_ms": 3_600_000,
        "error": error, "fingerprint": format!("greet: {error}/#"), "message": error }]);
    let mut conn = app.env.pool.get().await.unwrap();
    let closed = queries::close_runs(&mut conn, &closings).await.unwrap();
    assert_eq!(closed.iter().map(|run| run.id).collect::<Vec<_>>(), [run.id]);
}

async fn send(app: &App, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    app.send(app.request(method, path).json(&body)).await
}

async fn waiting(app: &App, run: RunId) -> Value {
    app.get(&format!("/api/v1/runs/{run}")).await["waiting"].clone()
}

async fn audited(app: &App, action: &str) -> i64 {
    app.db.one("SELECT count(*) FROM audit_log WHERE action = $1", &[&action]).await
}

async fn until(app: &App, run: &str, state: &str) -> Value {
    let path = format!("/api/v1/runs/{run}");
    let path = &path;
    eventually(&format!("{path} to be {state}"), move || async move {
        let run = app.get(path).await;
        (run["state"] == state).then_some(run)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_run_that_has_not_ended_says_why() {
    let app = app(false).await;
    let first = put(&app, "a").await;
    assert_eq!(waiting(&app, first).await["reason"], "no_worker");
    let machine = worker(&app, 1).await;
    assert_eq!(waiting(&app, first).await["reason"], "starting");
    let second = put(&app, "b").await;
    let behind = waiting(&app, second).await;
    assert_eq!((&behind["reason"], &behind["text"]), (&json!("behind"), &json!("1 run goes first")));

    assert_eq!(claim(&app, machine).await.id, first);
    assert_eq!(waiting(&app, first).await["reason"], "running");
    assert_eq!(waiting(&app, second).await["reason"], "slots_full");
    let limit = json!({ "max_running": 1 });
    let (status, queue) = send(&app, Method::PUT, "/api/v1/queues/default/limit", limit).await;
    assert_eq!((status.as_u16(), &queue["limit"]), (200, &json!(1)), "{queue}");
    assert_eq!(waiting(&app, second).await["reason"], "limit_reached");

    let pause = json!({ "reason": "the greeter is hoarse" });
    let (status, kind) = send(&app, Method::POST, "/api/v1/kinds/greet/pause", pause).await;
    assert_eq!(status.as_u16(), 200, "{kind}");
    assert_eq!(waiting(&app, second).await["reason"], "kind_paused");
    let until = in_minutes(60);
    let (_, queue) =
        send(&app, Method::POST, "/api/v1/queues/default/pause", json!({ "until": until })).await;
    let paused = waiting(&app, second).await;
    assert_eq!(paused["reason"], "queue_paused", "{paused}");
    assert_eq!(paused["until"].as_str().map(instant), Some(instant(&until)), "{paused}");
    assert!(paused["by"].as_str().unwrap().starts_with("admin-"), "{paused} {queue}");
    assert!(paused["text"].as_str().unwrap().starts_with("its queue is paused by admin-"), "{paused}");

    let later = put_at(&app, "c", Some(instant(&until))).await;
    assert_eq!(waiting(&app, later).await["reason"], "scheduled");
    let running = app.get("/api/v1/runs?state=running").await;
    assert_eq!(running["items"][0]["waiting"]["reason"], "running", "{running}");
    // The list says the same as the run alone, and what has ended waits for nothing.
    app.post(&format!("/api/v1/runs/{second}/cancel")).await;
    assert_eq!(waiting(&app, second).await, Value::Null);
}

/// So many minutes from now, as the API reads it.
fn in_minutes(minutes: i64) -> String {
    use shared::clock::Clock;
    (shared::clock::SystemClock.now() + TimeDelta::minutes(minutes)).to_rfc3339()
}

fn instant(text: &str) -> DateTime<Utc> {
    let whole: DateTime<Utc> = text.parse().unwrap();
    DateTime::from_timestamp_micros(whole.timestamp_micros()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_paused_resumed_and_limited() {
    let app = app(false).await;
    worker(&app, 3).await;
    put(&app, "a").await;
    let queues = app.get("/api/v1/queues").await;
    let queue = queues["items"].as_array().unwrap().iter().find(|queue| queue["queue"] == "default").unwrap();
    assert_eq!(
        (&queue["available"], &queue["slots"], &queue["paused"]),
        (&json!(1), &json!(3), &Value::Null)
    );

    let path = "/api/v1/queues/default";
    let (status, _) = app.post(&format!("{path}/pause")).await;
    assert_eq!(status.as_u16(), 200, "a body may be left out");
    let again = json!({ "reason": "disk", "until": in_minutes(5) });
    let (_, queue) = send(&app, Method::POST, &format!("{path}/pause"), again).await;
    assert_eq!(queue["paused"]["reason"], "disk", "{queue}");
    assert!(queue["paused"]["until"].is_string() && queue["paused"]["at"].is_string(), "{queue}");
    for _ in 0..2 {
        let (status, queue) = app.post(&format!("{path}/resume")).await;
        assert_eq!((status.as_u16(), &queue["paused"]), (200, &Value::Null));
    }
    for (limit, expected) in [(json!(7), json!(7)), (Value::Null, Value::Null)] {
        let (_, queue) =
            send(&app, Method::PUT, &format!("{path}/limit"), json!({ "max_running": limit })).await;
        assert_eq!(queue["limit"], expected);
    }
    assert_eq!(audited(&app, "queue.pause").await, 2);
    assert_eq!(audited(&app, "queue.resume").await, 2);
    assert_eq!(audited(&app, "queue.limit").await, 2);

    for (method, path, body, status, field) in [
        (Method::POST, "/api/v1/queues/default/pause", json!({ "until": in_minutes(-1) }), 422, "until"),
        (Method::POST, "/api/v1/queues/default/pause", json!({ "until": "soon" }), 422, "until"),
        (Method::POST, "/api/v1/queues/default/pause", json!({ "reason": "x".repeat(501) }), 422, "reason"),
        (Method::POST, "/api/v1/queues/default/pause", json!({ "for": 3 }), 422, "for"),
        (Method::POST, "/api/v1/queues/slow/pause", json!({}), 404, ""),
        (Method::PUT, "/api/v1/queues/default/limit", json!({}), 422, "max_running"),
        (Method::PUT, "/api/v1/queues/default/limit", json!({ "max_running": 0 }), 422, "max_running"),
        (Method::PUT, "/api/v1/queues/default/limit", json!({ "max_running": 10_001 }), 422, "max_running"),
    ] {
        let (got, problem) = send(&app, method, path, body).await;
        assert_eq!(got.as_u16(), status, "{path}: {problem}");
        assert_eq!(problem["field"].as_str().unwrap_or_default(), field, "{problem}");
    }
    let (status, problem) = app.send(app.request(Method::GET, "/api/v1/queues/slow")).await;
    assert_eq!(status.as_u16(), 404);
    assert!(problem["detail"].as_str().unwrap().contains("ingest, light, deliveries, default"), "{problem}");
    let (status, _) = app.send(app.request(Method::GET, "/api/v1/queues?x=1")).await;
    assert_eq!(status.as_u16(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_say_what_they_promise() {
    let app = app(false).await;
    let kind = app.get("/api/v1/kinds/greet").await;
    assert_eq!(kind["queue"], "default");
    assert_eq!(kind["retry"], json!({ "policy": "fixed", "max_attempts": 2, "waits_ms": [3_600_000] }));
    assert_eq!(kind["clonable"], true);
    assert_eq!(kind["args_schema"]["properties"]["times"]["type"], "integer", "{kind}");
    let kinds = app.get("/api/v1/kinds").await;
    let sealed = &kinds["items"][1];
    assert_eq!(
        (&sealed["clonable"], &sealed["unclonable_reason"]),
        (&json!(false), &json!("it belongs to its key"))
    );
    assert_eq!(kinds["items"].as_array().unwrap().len(), 4, "only those of the environment");
    let (status, kind) = app.post("/api/v1/kinds/greet/pause").await;
    assert_eq!((status.as_u16(), &kind["paused"]["reason"]), (200, &Value::Null));
    let (_, kind) = app.post("/api/v1/kinds/greet/resume").await;
    assert_eq!(kind["paused"], Value::Null);
    let (status, problem) = app.post("/api/v1/kinds/plan_upload/pause").await;
    assert_eq!(status.as_u16(), 404, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("greet, sealed"), "{problem}");
    assert_eq!(audited(&app, "kind.pause").await + audited(&app, "kind.resume").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_show_what_they_run() {
    let app = app(false).await;
    let machine = worker(&app, 2).await;
    let run = put(&app, "a").await;
    claim(&app, machine).await;
    let list = app.get("/api/v1/workers").await;
    let shown = &list["items"][0];
    assert_eq!(
        (&shown["host"], &shown["running"], &shown["silent"]),
        (&json!("mill-1"), &json!(1), &json!(false))
    );
    assert_eq!((&shown["slots_in_use"], &shown["lease_ms"]), (&json!({ "default": 1 }), &json!(3_600_000)));
    let one = app.get(&format!("/api/v1/workers/{machine}")).await;
    assert_eq!(one["runs"][0]["id"], json!(run), "{one}");
    let held = app.get(&format!("/api/v1/runs?worker={machine}")).await;
    assert_eq!(held["items"][0]["id"], json!(run));
    let states = app.get(&format!("/api/v1/run-states?worker={machine}")).await;
    assert_eq!(states["items"], json!([{ "state": "running", "count": 1, "more": false }]));
    app.db.client.batch_execute("UPDATE workers SET last_seen = now() - interval '2 h'").await.unwrap();
    assert_eq!(app.get(&format!("/api/v1/workers/{machine}")).await["silent"], true);
    assert_eq!(waiting(&app, run).await["reason"], "worker_silent");
    let (status, _) = app.send(app.request(Method::GET, &format!("/api/v1/workers/{run}"))).await;
    assert_eq!(status.as_u16(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_grouped_and_retried_as_a_group() {
    let app = app(false).await;
    let machine = worker(&app, 5).await;
    for (name, outcome) in [("a", "failed"), ("b", "failed"), ("c", "error")] {
        put(&app, name).await;
        let run = claim(&app, machine).await;
        close(&app, &run, outcome, "no voice").await;
    }
    put(&app, "d").await;
    close(&app, &claim(&app, machine).await, "failed", "no words").await;
    let page = app.get("/api/v1/failures?limit=1").await;
    assert_eq!(page["items"][0]["message"], "no words", "the latest comes first");
    let next = page["next"].as_str().unwrap();
    let group = app.get(&format!("/api/v1/failures?limit=1&cursor={next}")).await["items"][0].clone();
    assert_eq!((&group["message"], &group["occurrences"]), (&json!("no voice"), &json!(3)), "{group}");
    assert_eq!((&group["failed_runs"], &group["retrying_runs"]), (&json!(2), &json!(1)), "{group}");
    assert_eq!(group["error"], "no voice");
    let links = &group["links"];
    assert_eq!(app.get(links["self"].as_str().unwrap()).await["fingerprint"], group["fingerprint"]);
    let failed = app.get(links["failed_runs"].as_str().unwrap()).await;
    assert_eq!(failed["items"].as_array().unwrap().len(), 2, "{failed}");

    let answer = app.request(Method::POST, links["retry"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 202);
    let place = answer.headers()["location"].to_str().unwrap().to_owned();
    let body: Value = answer.json().await.unwrap();
    assert_eq!((&body["kind"], &body["matched"]), (&json!("retry_runs"), &json!(2)), "{body}");
    assert_eq!(app.get(&place).await["id"], body["id"]);
    let (status, _) = app.post("/api/v1/failures/nothing/retry").await;
    assert_eq!(status.as_u16(), 404);
    let (status, _) = app.send(app.request(Method::GET, "/api/v1/failures?cursor=00")).await;
    assert_eq!(status.as_u16(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_runs_are_retried_and_cancelled_by_a_run() {
    let app = app(true).await;
    let mut ids = Vec::new();
    for name in ["nobody", "nobody", "ada"] {
        ids.push(put(&app, name).await.to_string());
    }
    until(&app, &ids[0], "failed").await;
    until(&app, &ids[1], "failed").await;
    until(&app, &ids[2], "completed").await;
    let request = || {
        let body = json!({ "filter": { "kind": "greet", "states": ["failed"] } });
        app.request(Method::POST, "/api/v1/runs:retry").header("Idempotency-Key", "again").json(&body)
    };
    let (status, bulk) = app.send(request()).await;
    assert_eq!((status.as_u16(), &bulk["matched"]), (202, &json!(2)), "{bulk}");
    let (_, repeated) = app.send(request()).await;
    assert_eq!(repeated["id"], bulk["id"], "the key stands for one run");
    let done = until(&app, bulk["id"].as_str().unwrap(), "completed").await;
    assert_eq!(done["result"], json!({ "changed": 2, "skipped": 0 }), "{done}");
    let details: Value = app.db.one("SELECT details FROM audit_log WHERE action = 'runs.retry'", &[]).await;
    assert_eq!(details["runs"], "runs with the state failed and the kind greet");
    assert_eq!(details["matched"], 2);

    let later = put_at(&app, "eve", Some(instant(&in_minutes(60)))).await.to_string();
    let body = json!({ "ids": [later, ids[2]] });
    let (status, bulk) = send(&app, Method::POST, "/api/v1/runs:cancel", body).await;
    assert_eq!((status.as_u16(), &bulk["matched"]), (202, &json!(1)), "{bulk}");
    until(&app, &later, "cancelled").await;

    for (body, field) in [
        (json!({}), "body"),
        (json!({ "filter": {} }), "filter"),
        (json!({ "ids": [] }), "ids"),
        (json!({ "ids": ids, "filter": { "all": true } }), "body"),
        (json!({ "filter": { "colour": "red" } }), "filter.colour"),
        (json!({ "filter": { "states": ["completed"] } }), "filter.states"),
    ] {
        let (status, problem) = send(&app, Method::POST, "/api/v1/runs:retry", body).await;
        assert_eq!((status.as_u16(), problem["field"].as_str()), (422, Some(field)), "{problem}");
    }
    let many: Vec<RunId> = (0..10_000).map(|_| RunId::generate()).collect();
    let (status, bulk) = send(&app, Method::POST, "/api/v1/runs:retry", json!({ "ids": many })).await;
    assert_eq!((status.as_u16(), &bulk["matched"]), (202, &json!(0)), "10,000 ids are taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_takes_changed_arguments_that_its_kind_accepts() {
    let app = app(false).await;
    let run = put(&app, "ada").await;
    let path = format!("/api/v1/runs/{run}/clone");
    let body = json!({ "args": { "name": "eve", "times": 2 }, "run_at": in_minutes(9), "priority": 7 });
    let request = || app.request(Method::POST, &path).header("Idempotency-Key", "c").json(&body);
    let answer = request().send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 201);
    let place = answer.headers()["location"].to_str().unwrap().to_owned();
    let clone = app.get(&place).await;
    assert_eq!(
        (&clone["args"]["name"], &clone["priority"], &clone["state"]),
        (&json!("eve"), &json!(7), &json!("scheduled"))
    );
    let (status, again) = app.send(request()).await;
    assert_eq!((status.as_u16(), &again["id"]), (200, &clone["id"]));
    let (status, same) = app.post(&path).await;
    assert_eq!((status.as_u16(), &same["args"]), (201, &json!({ "name": "ada", "times": 1 })));
    assert_eq!(audited(&app, "run.clone").await, 2);

    for (args, field) in [
        (json!({ "name": "eve", "times": 2, "loud": true }), "args.loud"),
        (json!({ "name": "eve", "times": "two" }), "args.times"),
        (json!({ "name": "eve" }), "args"),
        (json!([]), "args"),
    ] {
        let (status, problem) = send(&app, Method::POST, &path, json!({ "args": args })).await;
        assert_eq!((status.as_u16(), problem["field"].as_str()), (422, Some(field)), "{problem}");
    }
    let mut conn = app.env.pool.get().await.unwrap();
    let sealed = Sealed { key: "k".to_owned() };
    let sealed = enqueue(&mut conn, &sealed, &EnqueueOptions::by("test")).await.unwrap().id;
    let (status, problem) = app.post(&format!("/api/v1/runs/{sealed}/clone")).await;
    assert_eq!(status.as_u16(), 409, "{problem}");
    assert_eq!(problem["detail"], "cannot be cloned: it belongs to its key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_answers_with_the_run_that_stands_for_it() {
    let app = app(false).await;
    let mut conn = app.env.pool.get().await.unwrap();
    let sealed = Sealed { key: "k".to_owned() };
    let first = enqueue(&mut conn, &sealed, &EnqueueOptions::by("test")).await.unwrap().id;
    app.post(&format!("/api/v1/runs/{first}/cancel")).await;
    let second = enqueue(&mut conn, &sealed, &EnqueueOptions::by("test")).await.unwrap().id;
    let (status, answer) = app.post(&format!("/api/v1/runs/{first}/retry")).await;
    assert_eq!((status.as_u16(), &answer["id"]), (200, &json!(second)), "{answer}");

    let browser = Browser::log_in(&app, Role::Operator).await;
    let retried = browser.post(&format!("/ui/runs/{first}/retry"), &[("csrf_token", &browser.csrf)]).await;
    let place = location(&retried);
    assert_eq!(place, format!("/ui/runs/{second}?notice=stands"));
    assert!(browser.page(&place).await.contains("Another run stands for it already"));
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_and_logs_say_how_long_and_how_much_is_gone() {
    let app = app(false).await;
    let machine = worker(&app, 1).await;
    let run = put(&app, "ada").await;
    close(&app, &claim(&app, machine).await, "snoozed", "").await;
    for line in [3201, 3202] {
        let sql = "INSERT INTO run_logs (run_id, attempt, line, at, level, message) VALUES ($1, 1, $2, now(), 'INFO', 'x')";
        app.db.client.execute(sql, &[&run.0, &line]).await.unwrap();
    }
    let logs = app.get(&format!("/api/v1/runs/{run}/logs")).await;
    assert_eq!(logs["items"][0]["line"], 3201);
    assert_eq!(logs["dropped"], json!([{ "attempt": 1, "lines": 3200 }]));
    let attempts = app.get(&format!("/api/v1/runs/{run}/attempts")).await;
    assert_eq!(attempts["items"][0]["outcome"], "snoozed");
    assert!(attempts["items"][0]["duration_ms"].is_i64());
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let page = browser.page(&format!("/ui/runs/{run}")).await;
    assert!(page.contains("The oldest 3,200 lines of attempt 1 were dropped"), "{page}");
    assert!(
        page.contains("snoozed") && page.contains("its handler asked to be called again later"),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_change_anything() {
    let app = app(false).await;
    let run = put(&app, "ada").await;
    for role in [Role::Viewer, Role::Integration] {
        let token = app.token(role).await;
        for (method, path) in [
            (Method::POST, "/api/v1/queues/default/pause".to_owned()),
            (Method::POST, "/api/v1/queues/default/resume".to_owned()),
            (Method::PUT, "/api/v1/queues/default/limit".to_owned()),
            (Method::POST, "/api/v1/kinds/greet/pause".to_owned()),
            (Method::POST, "/api/v1/kinds/greet/resume".to_owned()),
            (Method::POST, "/api/v1/runs:retry".to_owned()),
            (Method::POST, "/api/v1/runs:cancel".to_owned()),
            (Method::POST, format!("/api/v1/runs/{run}/clone")),
            (Method::POST, "/api/v1/failures/x/retry".to_owned()),
        ] {
            let request = app.anonymous(method, &path).bearer_auth(&token).json(&json!({}));
            let (status, problem) = app.send(request).await;
            assert_eq!(status.as_u16(), 403, "{role} {path}: {problem}");
        }
        for path in ["queues", "kinds", "workers", "failures"] {
            let request = app.anonymous(Method::GET, &format!("/api/v1/{path}")).bearer_auth(&token);
            assert_eq!(app.send(request).await.0.as_u16(), 200, "{role} {path}");
        }
    }
    let browser = Browser::log_in(&app, Role::Viewer).await;
    for path in ["/ui/queues/default/pause", "/ui/runs:cancel", "/ui/queues/default/limit"] {
        let refused = browser.post(path, &[("csrf_token", &browser.csrf)]).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{path}");
    }
    let page = browser.page("/ui/queues").await;
    assert!(page.contains("need the role operator") && !page.contains("/ui/queues/default/pause"), "{page}");
    assert_eq!(app.db.one::<i64>("SELECT count(*) FROM pauses", &[]).await, 0);
}
