//! What operators do on pages: forms, questions, refusals.

use super::{app, claim, close, put, worker};
use reqwest::StatusCode;
use serde_json::json;
use shared::auth::Role;
use tests::browser::{Browser, between, location};

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_pause_resume_and_limit() {
    let app = app(false).await;
    worker(&app, 2).await;
    let run = put(&app, "ada").await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let csrf = ("csrf_token", browser.csrf.as_str());
    for (path, fields) in [
        ("/ui/queues/default/pause", vec![("csrf_token", "guessed"), ("reason", "x")]),
        ("/ui/kinds/greet/resume", vec![("csrf_token", "guessed")]),
        ("/ui/queues/default/limit", vec![("csrf_token", "guessed"), ("max_running", "2")]),
    ] {
        assert_eq!(browser.post(path, &fields).await.status(), StatusCode::FORBIDDEN, "{path}");
    }
    let bad = browser
        .post("/ui/queues/default/pause", &[csrf, ("reason", "kept <b>"), ("until", "2020-01-01T10:00")])
        .await;
    assert_eq!(bad.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let text = bad.text().await.unwrap();
    assert!(text.contains("The time has to be in the future") && text.contains("2020-01-01T10:00"), "{text}");
    assert!(text.contains("kept &#60;b&#62;"), "what was typed is kept: {text}");

    let paused =
        browser.post("/ui/queues/default/pause", &[csrf, ("reason", "full disk"), ("until", "")]).await;
    assert_eq!(location(&paused), "/ui/queues?notice=paused");
    assert!(browser.page("/ui/queues").await.contains("by browser-operator: full disk"));
    let page = browser.page(&format!("/ui/runs/{run}")).await;
    assert!(page.contains("its queue is paused by browser-operator: full disk"), "{page}");
    assert!(
        browser.page("/ui").await.contains("The queue default is paused by browser-operator: full disk.")
    );
    let resumed = browser.post("/ui/queues/default/resume", &[csrf]).await;
    assert_eq!(location(&resumed), "/ui/queues?notice=resumed");
    for (typed, notice) in [("3", "limited"), ("", "unlimited")] {
        let limited = browser.post("/ui/queues/default/limit", &[csrf, ("max_running", typed)]).await;
        assert_eq!(location(&limited), format!("/ui/queues?notice={notice}"));
    }
    let refused = browser.post("/ui/queues/default/limit", &[csrf, ("max_running", "many")]).await;
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let kind = browser.post("/ui/kinds/greet/pause", &[csrf, ("reason", ""), ("until", "")]).await;
    assert_eq!(location(&kind), "/ui/queues?notice=paused");
    assert_eq!(location(&browser.post("/ui/kinds/greet/resume", &[csrf]).await), "/ui/queues?notice=resumed");
    assert_eq!(browser.post("/ui/queues/slow/pause", &[csrf]).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_act_on_many_runs_after_asking() {
    let app = app(false).await;
    let machine = worker(&app, 5).await;
    for name in ["a", "b", "c"] {
        put(&app, name).await;
        close(&app, &claim(&app, machine).await, "failed", "no <voice>").await;
    }
    let held = put(&app, "d").await;
    claim(&app, machine).await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let csrf = ("csrf_token", browser.csrf.as_str());

    let list = browser.page("/ui/runs?state=failed").await;
    assert!(list.contains("Retry all 3 that match") && !list.contains("Cancel all"), "{list}");
    let asked = browser.post("/ui/runs:retry", &[csrf, ("scope", "all"), ("state", "failed")]).await;
    let question = asked.text().await.unwrap();
    assert!(
        question.contains("Retry 3 runs?") && question.contains("runs with the state failed."),
        "{question}"
    );
    let nothing = browser.post("/ui/runs:retry", &[csrf, ("state", "failed")]).await;
    assert_eq!(location(&nothing), "/ui/runs?state=failed&notice=none-selected");
    let held = held.to_string();
    let fields = [csrf, ("id", held.as_str()), ("confirmed", "yes")];
    let place = location(&browser.post("/ui/runs:cancel", &fields).await);
    assert!(place.starts_with("/ui/runs/") && place.ends_with("?notice=bulk"), "{place}");
    assert!(browser.page(&place).await.contains("cancel runs"));

    let failures = browser.page("/ui/failures").await;
    assert!(
        failures.contains("3 runs failed in the last hour.") && failures.contains("Retry 3 runs"),
        "{failures}"
    );
    assert!(failures.contains("no &#60;voice&#62;"), "{failures}");
    let group = between(&failures, "class=\"row\" href=\"", "\"").to_owned();
    let page = browser.page(&group).await;
    assert!(page.contains("The latest error") && page.contains("Retry 3 runs"), "{page}");
    let question = browser.post(&format!("{group}/retry"), &[csrf]).await.text().await.unwrap();
    assert!(question.contains("These are all greet runs that ended with"), "{question}");
    let done = browser.post(&format!("{group}/retry"), &[csrf, ("confirmed", "yes")]).await;
    assert!(location(&done).ends_with("?notice=bulk"));
    assert!(browser.page("/ui").await.contains("3 runs failed in the last hour."));
    let narrowed = browser.page("/ui/runs?fingerprint=greet%3A+no+%3Cvoice%3E%2F%23").await;
    assert!(narrowed.contains("failure greet: no &#60;voice&#62;"), "{narrowed}");
    let workers = browser.page("/ui/workers").await;
    assert!(workers.contains("mill-1") && workers.contains("default 1/5"), "{workers}");
    let page = browser.page(&format!("/ui/workers/{machine}")).await;
    assert!(page.contains("What it runs") && page.contains(&held), "{page}");
    assert!(browser.page(&format!("/ui/runs?worker={machine}")).await.contains(&held));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_clones_with_what_was_typed() {
    let app = app(false).await;
    let run = put(&app, "ada").await;
    let browser = Browser::log_in(&app, Role::Operator).await;
    let path = format!("/ui/runs/{run}/clone");
    let form = browser.page(&path).await;
    assert!(
        form.contains("&#34;name&#34;: &#34;ada&#34;") && form.contains("Whom; `nobody` fails."),
        "{form}"
    );
    let post = async |args: &str, run_at: &str| {
        let fields =
            [("csrf_token", browser.csrf.as_str()), ("args", args), ("run_at", run_at), ("priority", "50")];
        browser.post(&path, &fields).await
    };
    for (args, complaint) in [
        ("{\"name\": ", "This is not JSON"),
        ("{\"name\": \"eve\", \"times\": \"often\"}", "times: invalid type"),
        ("{\"name\": \"eve\", \"times\": 1, \"loud\": 1}", "greet has no such argument"),
    ] {
        let refused = post(args, "").await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let page = refused.text().await.unwrap();
        assert!(page.contains(complaint) && page.contains("aria-invalid"), "{complaint}: {page}");
        assert!(page.contains(&args.replace('"', "&#34;")), "what was typed is kept: {page}");
    }
    let place = location(&post("{\"name\": \"eve\", \"times\": 1}", "2027-01-31T10:00").await);
    assert!(place.ends_with("?notice=cloned"), "{place}");
    let id = between(&place, "/ui/runs/", "?");
    let clone = app.get(&format!("/api/v1/runs/{id}")).await;
    assert_eq!((&clone["run_at"], &clone["priority"]), (&json!("2027-01-31T10:00:00Z"), &json!(50)));
    let guessed = browser.post(&path, &[("csrf_token", "guessed"), ("args", "{}")]).await;
    assert_eq!(guessed.status(), StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_of_ten_thousand_steps_shows_first_what_failed() {
    let app = app(false).await;
    let flow = "01a1f000-0000-7000-8000-000000000001";
    let sql = format!(
        "INSERT INTO runs (id, kind, queue, state, reason, max_attempts, flow_id, created_by, finished_at)
         VALUES ('{flow}', 'greet', 'default', 'failed', 'child_failed', 1, '{flow}', 'test', now());
         INSERT INTO runs (id, kind, queue, state, reason, error, max_attempts, flow_id, parent_id, created_by, finished_at)
         SELECT gen_random_uuid(), 'greet', 'default', CASE n WHEN 7 THEN 'failed' ELSE 'completed' END,
                CASE n WHEN 7 THEN 'error' END, CASE n WHEN 7 THEN 'disk full' END, 1, '{flow}', '{flow}', 'test', now()
         FROM generate_series(1, 10050) AS n"
    );
    app.db.client.batch_execute(&sql).await.unwrap();
    let browser = Browser::log_in(&app, Role::Viewer).await;
    let page = browser.page(&format!("/ui/runs/{flow}")).await;
    assert!(page.contains("disk full") && page.contains("<b>10,000+</b>"), "{page}");
    assert!(page.contains("further steps") && page.contains("a step of it failed"), "{page}");
    let detail = app.get(&format!("/api/v1/runs/{flow}")).await;
    let completed = json!({ "state": "completed", "count": 10_000, "more": true });
    assert!(detail["children"].as_array().unwrap().contains(&completed), "{detail}");
    // The parent failed only by its step: that is one failure, wherever failures are counted.
    for path in ["/ui", "/ui/failures"] {
        assert!(browser.page(path).await.contains("1 run failed in the last hour."), "{path}");
    }
}
