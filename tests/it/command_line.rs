//! The commands that speak to a server: what they print, for people and for scripts, what they change,
//! and how they end.

use reqwest::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{
    auth::Role,
    ids::RunId,
    runs::{
        EnqueueOptions, Finished, Job, JobError, Queue, Retry, RunContext, enqueue,
        jobs::{CancelRuns, RetryRuns},
        registry::{Kind, Registered},
    },
};
use std::{process::Stdio, time::Duration};
use tests::{App, AppOptions, app::PASSWORD, eventually, files, processes::millrace};
use tokio::io::AsyncWriteExt;

/// Fails until it is allowed to succeed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Stubborn {
    name: String,
}

impl Registered for Stubborn {
    fn kind() -> &'static Kind {
        &KINDS[0]
    }
}

/// What the worker of these tests knows.
static KINDS: &[Kind] = &[Kind::of::<Stubborn>(), Kind::of::<RetryRuns>(), Kind::of::<CancelRuns>()];

impl Job for Stubborn {
    const KIND: &'static str = "stubborn";
    const QUEUE: Queue = Queue::Light;
    const RETRY: Retry = Retry::Never;
    const TIMEOUT: Duration = Duration::from_secs(10);

    async fn run(self, context: RunContext) -> Result<Finished, JobError> {
        match context.attempt {
            1 => Err(JobError::fail(anyhow::anyhow!("no rate for GBP"))),
            _ => Ok(Finished::Result(serde_json::json!("done"))),
        }
    }
}

/// How a command ended.
pub struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    /// Its standard output as JSON, after it ended well.
    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// Its standard output, after it ended well.
    pub fn text(&self) -> &str {
        assert_eq!(self.code, 0, "{}", self.err);
        &self.out
    }

    /// Its standard error, after it ended so.
    pub fn refused(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        &self.err
    }
}

/// Runs `millrace` against a server; `token` is who asks, `input` what is typed.
async fn command(server: &str, token: Option<&str>, arguments: &[&str], input: &str) -> Said {
    let mut command = tokio::process::Command::new(millrace());
    command.args(arguments).env("MILLRACE_SERVER", server).env_remove("MILLRACE_TOKEN");
    command.env_remove("MILLRACE_PASSWORD").kill_on_drop(true);
    if let Some(token) = token {
        command.env("MILLRACE_TOKEN", token);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A command that reads nothing may have ended already.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// As the administrator.
pub async fn admin(app: &App, arguments: &[&str]) -> Said {
    command(&app.url, Some(app.admin_token()), arguments, "").await
}

async fn app(worker: bool) -> App {
    App::start_with(AppOptions { kinds: KINDS, worker, ..AppOptions::default() }).await
}

async fn put(app: &App, names: &[&str]) -> Vec<RunId> {
    let mut conn = app.env.pool.get().await.unwrap();
    let mut ids = Vec::new();
    for &name in names {
        let job = Stubborn { name: name.to_owned() };
        ids.push(enqueue(&mut conn, &job, &EnqueueOptions::by("test")).await.unwrap().id);
    }
    app.env.doorbells.ring(Queue::Light, 1);
    ids
}

async fn until(app: &App, id: RunId, state: &str) {
    eventually(&format!("run {id} to be {state}"), || async {
        let run = app.get(&format!("/api/v1/runs/{id}")).await;
        (run["state"] == state).then_some(())
    })
    .await;
}

fn end_of(id: RunId) -> String {
    let id = id.to_string();
    id[id.len() - 8..].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_for_people_and_for_scripts() {
    let app = app(false).await;
    let ids = put(&app, &["one", "two", "three"]).await;

    let listed = admin(&app, &["runs", "list", "--json"]).await;
    let whole = app.request(Method::GET, "/api/v1/runs?limit=50").send().await.unwrap().text().await.unwrap();
    // Why each waits is said anew each time, and may have changed.
    let without = |text: &str| {
        let mut value: Value = serde_json::from_str(text).unwrap();
        for run in value["items"].as_array_mut().unwrap() {
            run.as_object_mut().unwrap().remove("waiting");
        }
        value
    };
    assert_eq!(without(listed.text()), without(&whole), "the API's answer, unchanged");

    let table = admin(&app, &["runs", "list", "--state", "available", "--queue", "light"]).await;
    let lines: Vec<&str> = table.text().lines().collect();
    assert_eq!(lines.len(), 4, "{}", table.out);
    assert!(lines[0].starts_with("RUN       KIND      STATE"), "{}", lines[0]);
    for (line, id) in lines[1..].iter().zip(ids.iter().rev()) {
        assert!(line.starts_with(&format!("{}  stubborn  available  0/1", end_of(*id))), "{line}");
    }

    let one = admin(&app, &["runs", "list", "--limit", "1"]).await;
    assert_eq!(one.text().lines().count(), 2, "{}", one.out);
    assert!(one.err.contains("--all"), "{}", one.err);
    let none = admin(&app, &["runs", "list", "--kind", "nothing"]).await;
    assert_eq!((none.text(), none.err.trim()), ("", "No run is like that."));
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_are_followed_into_one_document() {
    let app = app(false).await;
    app.db
        .client
        .execute(
            "INSERT INTO runs (id, kind, queue, args, state, max_attempts, flow_id, created_by, finished_at)
             SELECT id, 'stubborn', 'light', '{\"name\":\"x\"}', 'completed', 1, id, 'test', now()
             FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 1203)) AS ids",
            &[],
        )
        .await
        .unwrap();
    let all = admin(&app, &["runs", "list", "--all", "--json"]).await.json();
    let mut ids: Vec<&str> =
        all["items"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted_by(|one, next| one > next), "newest first, none twice");
    assert_eq!((ids.len(), &all["next"]), (1203, &Value::Null));
    let some = admin(&app, &["runs", "list", "--limit", "700", "--json"]).await.json();
    ids.truncate(700);
    let first: Vec<&str> =
        some["items"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect();
    assert_eq!(first, ids);
    assert!(some["next"].is_string(), "there are more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_shown_retried_and_cancelled_by_the_end_of_its_id() {
    let app = app(true).await;
    let id = put(&app, &["one"]).await[0];
    until(&app, id, "failed").await;

    let shown = admin(&app, &["runs", "show", &end_of(id)]).await;
    for part in [
        &id.to_string(),
        "state        failed",
        "no rate for GBP",
        "attempt      1 of 1",
        "{\"name\":\"one\"}",
    ] {
        assert!(shown.text().contains(part), "{part} is missing in:\n{}", shown.out);
    }
    let json = admin(&app, &["runs", "show", &id.to_string(), "--json"]).await.json();
    assert_eq!(json, app.get(&format!("/api/v1/runs/{id}")).await);

    let retried = admin(&app, &["runs", "retry", &end_of(id), "--wait"]).await;
    assert!(retried.text().contains("is completed"), "{}", retried.out);
    let audited: i64 = app
        .db
        .one("SELECT count(*) FROM audit_log WHERE action = 'run.retry' AND subject = $1", &[&id.to_string()])
        .await;
    assert_eq!(audited, 1, "it goes through the API, so it is audited");

    let again = admin(&app, &["runs", "retry", &id.to_string()]).await;
    assert!(again.refused(1).contains("completed"), "{}", again.err);
    let cancelled = admin(&app, &["runs", "cancel", &id.to_string()]).await;
    assert!(cancelled.refused(1).starts_with("millrace: "), "{}", cancelled.err);
    let unknown = admin(&app, &["runs", "show", "00000000"]).await;
    assert!(unknown.refused(1).contains("give the whole id"), "{}", unknown.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_run_is_cancelled() {
    let app = app(false).await;
    let id = put(&app, &["one"]).await[0];
    let cancelled = admin(&app, &["runs", "cancel", &end_of(id), "--json"]).await.json();
    assert_eq!((&cancelled["id"], &cancelled["state"]), (&id.to_string().into(), &"cancelled".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_why_and_ends_with_one() {
    let app = app(false).await;
    let id = put(&app, &["one"]).await[0].to_string();
    let viewer = app.token(Role::Viewer).await;
    let denied = command(&app.url, Some(&viewer), &["runs", "cancel", &id], "").await;
    let denied = denied.refused(1);
    assert!(denied.contains("not allowed") && denied.contains("operator, admin"), "{denied}");

    let wrong = command(&app.url, Some("nonsense"), &["runs", "list"], "").await;
    let wrong = wrong.refused(1);
    assert!(wrong.contains("not logged in") && wrong.contains("--username"), "{wrong}");

    let away = command("http://127.0.0.1:9", Some("x"), &["runs", "list"], "").await;
    let away = away.refused(1);
    assert!(away.contains("no answer from http://127.0.0.1:9") && away.contains("millrace up"), "{away}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_call_ends_with_two() {
    let app = app(false).await;
    let nobody = command(&app.url, None, &["runs", "list"], "").await;
    assert!(nobody.refused(2).contains("--username"), "{}", nobody.err);
    for (arguments, said) in [
        (vec!["runs", "retry"], "required"),
        (vec!["runs", "retry", "--matching"], "say which"),
        (vec!["runs", "retry", "a783babe", "--state", "failed"], "--matching"),
        (vec!["runs", "cancel", "xyz"], "last 8 characters"),
        (vec!["runs", "list", "--state", "happy"], "scheduled"),
        (vec!["queues", "limit", "light", "0"], "pause the queue"),
        (vec!["queues", "pause", "light", "--for", "soon"], "no duration"),
        (vec!["queues", "pause", "light", "--until", "2020-01-01"], "is over"),
    ] {
        let ended = admin(&app, &arguments).await;
        assert!(ended.refused(2).contains(said), "{arguments:?}: {}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_logs_in_with_a_password_from_standard_input() {
    let app = app(false).await;
    let mut conn = app.env.pool.get().await.unwrap();
    shared::auth::create_user(&mut conn, "mila", None, PASSWORD, Role::Viewer).await.unwrap();
    drop(conn);
    let arguments = ["workers", "--json", "--username", "mila"];
    let listed = command(&app.url, None, &arguments, &format!("{PASSWORD}\n")).await;
    assert!(listed.json()["items"].is_array());
    let wrong = command(&app.url, None, &arguments, "wrong\n").await;
    assert!(wrong.refused(1).contains("cannot log in"), "{}", wrong.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_are_listed() {
    let app = app(true).await;
    eventually("a worker", || async {
        let workers = app.get("/api/v1/workers").await;
        (workers["items"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
    let table = admin(&app, &["workers"]).await;
    let lines: Vec<&str> = table.text().lines().collect();
    assert_eq!(lines.len(), 2, "{}", table.out);
    assert!(lines[1].contains(&std::process::id().to_string()) && lines[1].contains("alive"), "{}", lines[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_is_retried_after_a_question_and_followed() {
    let app = app(true).await;
    let ids = put(&app, &["one", "two", "three"]).await;
    for &id in &ids {
        until(&app, id, "failed").await;
    }
    let retry = ["runs", "retry", "--matching", "--state", "failed", "--error", "gbp"];
    let token = Some(app.admin_token());
    let asked = command(&app.url, token, &retry, "").await;
    assert!(asked.refused(1).contains("Retry 3 runs?") && asked.err.contains("--yes"), "{}", asked.err);
    let declined = command(&app.url, token, &retry, "n\n").await;
    assert!(declined.refused(1).contains("nothing was done"), "{}", declined.err);
    until(&app, ids[0], "failed").await;

    let waited = [&retry[..], &["--wait"]].concat();
    let done = command(&app.url, token, &waited, "y\n").await;
    assert!(done.text().contains("3 runs were changed"), "{}", done.out);
    for &id in &ids {
        until(&app, id, "completed").await;
    }
    let nothing = admin(&app, &[&retry[..], &["--yes", "--wait", "--json"]].concat()).await;
    assert_eq!(nothing.json()["state"], "completed", "one document: the run that did it");
    let refused = admin(&app, &retry).await;
    assert!(refused.refused(1).contains("no run"), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_runs_are_cancelled_at_once() {
    let mut app = app(false).await;
    let ids: Vec<String> = put(&app, &["one", "two"]).await.iter().map(ToString::to_string).collect();
    // What waits must still wait when the run that cancels it begins.
    admin(&app, &["queues", "pause", "light"]).await.text();
    let asked = admin(&app, &["runs", "cancel", &ids[0], &ids[1][28..]]).await;
    assert!(asked.text().contains("for 2 runs"), "{}", asked.out);
    app.start_worker();
    for id in &ids {
        until(&app, RunId(id.parse().unwrap()), "cancelled").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_and_kinds_are_paused_limited_and_resumed() {
    let app = app(false).await;
    put(&app, &["one"]).await;
    let paused = admin(&app, &["queues", "pause", "light", "--reason", "bank holiday", "--for", "2h"]).await;
    assert!(paused.text().starts_with("No more runs of queue light begin until 20"), "{}", paused.out);
    let limited = admin(&app, &["queues", "limit", "light", "3"]).await;
    assert!(limited.text().contains("At most 3"), "{}", limited.out);

    let json = admin(&app, &["queues", "--json"]).await.json();
    let light = json["items"].as_array().unwrap().iter().find(|queue| queue["queue"] == "light").unwrap();
    assert_eq!((&light["limit"], &light["available"]), (&3.into(), &1.into()));
    assert_eq!(light["paused"]["reason"], "bank holiday");
    let table = admin(&app, &["queues"]).await;
    let line = table.text().lines().find(|line| line.starts_with("light")).unwrap();
    assert!(line.contains("paused by") && line.ends_with(": bank holiday"), "{line}");
    let runs = admin(&app, &["runs", "list"]).await;
    assert!(runs.text().contains("its queue is paused"), "{}", runs.out);

    admin(&app, &["queues", "limit", "light", "none"]).await.text();
    admin(&app, &["queues", "resume", "light"]).await.text();
    admin(&app, &["kinds", "pause", "stubborn"]).await.text();
    let kinds = admin(&app, &["kinds"]).await;
    let line = kinds.text().lines().find(|line| line.starts_with("stubborn")).unwrap();
    assert!(line.contains("paused by"), "{line}");
    admin(&app, &["kinds", "resume", "stubborn"]).await.text();
    let unknown = admin(&app, &["queues", "pause", "nothing"]).await;
    assert!(unknown.refused(1).contains("nothing"), "{}", unknown.err);
    let queues = admin(&app, &["queues", "--json"]).await.json();
    let light = queues["items"].as_array().unwrap().iter().find(|queue| queue["queue"] == "light").unwrap();
    assert_eq!((&light["limit"], &light["paused"]), (&Value::Null, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_alike_is_listed_and_retried() {
    let app = app(true).await;
    let ids = put(&app, &["one", "two"]).await;
    for &id in &ids {
        until(&app, id, "failed").await;
    }
    let failures = admin(&app, &["failures", "--json"]).await.json();
    let fingerprint = failures["items"][0]["fingerprint"].as_str().unwrap();
    let table = admin(&app, &["failures"]).await;
    assert!(table.text().contains(fingerprint), "{}", table.out);
    let retried = admin(&app, &["failures", "retry", fingerprint, "--wait"]).await;
    assert!(retried.text().contains("2 runs were changed"), "{}", retried.out);
    for &id in &ids {
        until(&app, id, "completed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summaries_are_verified_rebuilt_and_refreshed() {
    let app = App::start().await;
    app.load("file.csv", files::transactions(100, 1), "").await;
    let asked = admin(&app, &["refresh-materialized-view"]).await;
    assert!(asked.text().starts_with("run "), "{}", asked.out);
    let refreshed = admin(&app, &["refresh-materialized-view", "--wait"]).await;
    assert!(refreshed.text().ends_with("refreshed\n"), "{}", refreshed.out);
    app.db.client.execute("UPDATE day_totals SET count = count + 1", &[]).await.unwrap();
    let wrong = admin(&app, &["verify", "summaries", "--wait"]).await;
    assert!(wrong.refused(1).contains("not what their rows add up to"), "{}", wrong.err);
    let rebuilt = admin(&app, &["rebuild-summaries", "--truncate", "--wait"]).await;
    assert!(rebuilt.text().contains("day_totals: ") && rebuilt.out.contains(" written"), "{}", rebuilt.out);
    let right = admin(&app, &["verify", "summaries", "--wait"]).await;
    assert!(right.text().contains("100 transactions, each with its key"), "{}", right.out);
    let json = admin(&app, &["verify", "summaries", "--wait", "--json"]).await.json();
    assert_eq!((&json["state"], &json["result"]["transactions"]), (&"completed".into(), &100.into()));
    let denied = command(&app.url, Some(&app.token(Role::Viewer).await), &["rebuild-summaries"], "").await;
    assert!(denied.refused(1).contains("not allowed"), "{}", denied.err);
}
