//! The run engine: transitions, attempts, retries, flows, cancellation, uniqueness, rescue.

use shared::{
    ids::{ClaimToken, RunId, WorkerId},
    runs::{
        EnqueueOptions, Queue, RunContext, RunEvent, RunState, enqueue, enqueue_children, enqueue_flow,
        queries, service, workers,
    },
};
use std::time::Duration;
use tests::{
    App, AppOptions, TestDatabase, eventually,
    kinds::{Gather, KINDS, Obey, Only},
};

async fn app(worker: bool) -> App {
    App::start_with(AppOptions { kinds: KINDS, worker, ..AppOptions::default() }).await
}

async fn put(app: &App, orders: &[&str]) -> RunId {
    let mut conn = app.env.pool.get().await.unwrap();
    let run = enqueue(&mut conn, &Obey::new(orders), &EnqueueOptions::by("test")).await.unwrap();
    app.env.doorbells.ring(Queue::Default, 1);
    run.id
}

async fn find(app: &App, id: RunId) -> shared::runs::Run {
    queries::find_run(&mut app.env.pool.get().await.unwrap(), id).await.unwrap().unwrap()
}

async fn until(app: &App, id: RunId, state: RunState) -> shared::runs::Run {
    eventually(&format!("run {id} to be {state}"), || async {
        let run = find(app, id).await;
        (run.state == state).then_some(run)
    })
    .await
}

async fn outcomes(app: &App, id: RunId) -> Vec<String> {
    let attempts = queries::attempts(&mut app.env.pool.get().await.unwrap(), id).await.unwrap();
    attempts.into_iter().map(|attempt| attempt.outcome.unwrap_or_else(|| "open".to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_and_the_code_allow_the_same_transitions() {
    let db = TestDatabase::create().await;
    db.client
        .batch_execute("INSERT INTO workers (id, host, pid, version) VALUES ('00000000-0000-0000-0000-000000000001', 'h', 1, 'v')")
        .await
        .unwrap();
    for &from in RunState::ALL {
        let allowed: Vec<RunState> =
            RunEvent::ALL.iter().filter_map(|&event| from.next(event).ok()).collect();
        for &to in RunState::ALL.iter().filter(|&&to| to != from) {
            // The other columns are made to fit the state, so that only the transition can be refused.
            let fitting = |state: RunState| {
                let running = state == RunState::Running;
                format!(
                    "state = '{state}', claim_token = {}, worker_id = {}, finished_at = {}, blocked_by = {}",
                    if running { "gen_random_uuid()" } else { "NULL" },
                    if running { "'00000000-0000-0000-0000-000000000001'" } else { "NULL" },
                    if state.is_terminal() { "now()" } else { "NULL" },
                    i32::from(state == RunState::Blocked),
                )
            };
            for statement in [
                "DELETE FROM runs",
                "ALTER TABLE runs DISABLE TRIGGER runs_guard",
                "INSERT INTO runs (id, kind, queue, state, max_attempts, flow_id, created_by)
                 VALUES (gen_random_uuid(), 'k', 'q', 'available', 1, gen_random_uuid(), 't')",
                &format!("UPDATE runs SET {}", fitting(from)),
                "ALTER TABLE runs ENABLE TRIGGER runs_guard",
            ] {
                db.client.batch_execute(statement).await.unwrap();
            }
            let moved = db.client.execute(&format!("UPDATE runs SET {}", fitting(to)), &[]).await;
            assert_eq!(moved.is_ok(), allowed.contains(&to), "{from} to {to}: {moved:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_is_kept_and_the_last_failure_discards() {
    let app = app(true).await;
    let (well, badly) = (put(&app, &["retry", "panic"]).await, put(&app, &["retry", "panic", "retry"]).await);
    let run = until(&app, well, RunState::Completed).await;
    assert_eq!(run.result.unwrap()["attempt"], 3);
    assert_eq!(outcomes(&app, well).await, ["error", "error", "completed"]);
    let run = until(&app, badly, RunState::Discarded).await;
    assert_eq!(outcomes(&app, badly).await, ["error", "error", "error"]);
    assert_eq!(run.error.as_deref(), Some("not yet \u{fffd} 42"));
    let failures =
        shared::runs::failures::groups(&mut app.env.pool.get().await.unwrap(), &Default::default())
            .await
            .unwrap()
            .items;
    let group = failures.iter().find(|group| Some(&group.fingerprint) == run.fingerprint.as_ref()).unwrap();
    assert_eq!((group.message.as_str(), group.occurrences, group.failed_runs), ("not yet \u{fffd} #", 3, 1));
    let attempts = queries::attempts(&mut app.env.pool.get().await.unwrap(), badly).await.unwrap();
    assert_eq!(attempts[1].error.as_deref(), Some("panicked: out of \"order\" 1"));
    assert!(attempts[1].backtrace.as_ref().unwrap().contains("kinds.rs"), "{:?}", attempts[1].backtrace);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permanent_error_fails_at_once_and_a_hanging_handler_times_out() {
    let app = app(true).await;
    let (failing, hanging) = (put(&app, &["fail"]).await, put(&app, &["hang"]).await);
    let failed = until(&app, failing, RunState::Failed).await;
    assert_eq!((failed.attempt, failed.error.as_deref()), (1, Some("never")));
    until(&app, hanging, RunState::Completed).await;
    assert_eq!(outcomes(&app, hanging).await, ["timed_out", "completed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_run_is_retried_with_its_attempts_kept() {
    let app = app(true).await;
    let id = put(&app, &["fail"]).await;
    until(&app, id, RunState::Failed).await;
    let (status, answer) = app.post(&format!("/api/v1/runs/{id}/retry")).await;
    assert!(status.is_success(), "{answer}");
    let run = until(&app, id, RunState::Completed).await;
    assert_eq!(
        (run.attempt, outcomes(&app, id).await),
        (2, vec!["failed".to_owned(), "completed".to_owned()])
    );
    let (status, answer) = app.post(&format!("/api/v1/runs/{id}/retry")).await;
    assert_eq!(status.as_u16(), 409, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_runs_are_cancelled_at_once_and_running_ones_asked() {
    let app = app(true).await;
    let running = put(&app, &["wait"]).await;
    until(&app, running, RunState::Running).await;
    let (status, answer) = app.post(&format!("/api/v1/runs/{running}/cancel")).await;
    assert!(status.is_success(), "{answer}");
    until(&app, running, RunState::Cancelled).await;
    assert_eq!(outcomes(&app, running).await, ["cancelled"]);
    let mut conn = app.env.pool.get().await.unwrap();
    let later = EnqueueOptions {
        run_at: Some(chrono::DateTime::from_timestamp(4_000_000_000, 0).unwrap()),
        ..EnqueueOptions::by("test")
    };
    let waiting = enqueue(&mut conn, &Obey::new(&[]), &later).await.unwrap().id;
    assert_eq!(service::cancel_run(&mut conn, waiting).await.unwrap(), service::Cancelled::Now);
    assert_eq!(find(&app, waiting).await.state, RunState::Cancelled);
}

/// A worker of which there is only the record.
async fn register(conn: &mut diesel_async::AsyncPgConnection, id: WorkerId) {
    let introduction = workers::Introduction {
        id,
        host: "host",
        version: "test",
        slots: serde_json::json!({ "default": 4 }),
        kinds: vec!["obey"],
        lease: Duration::from_secs(60),
    };
    workers::register(conn, &introduction).await.unwrap();
}

/// A flow whose root waits for children with these orders.
async fn flow(app: &App, orders: &[&[&str]]) -> (RunId, Vec<RunId>) {
    let mut conn = app.env.pool.get().await.unwrap();
    let (root, by) = (RunId::generate(), EnqueueOptions::by("test"));
    enqueue_flow(&mut conn, root, &Gather {}, &Obey::new(orders[0]), &by).await.unwrap();
    let rest: Vec<Obey> = orders[1..].iter().map(|orders| Obey::new(orders)).collect();
    enqueue_children(&mut conn, root, &rest, &by).await.unwrap();
    let children = queries::children(&mut conn, root, 100).await.unwrap();
    app.env.doorbells.ring(Queue::Default, 4);
    (root, children.into_iter().map(|child| child.id).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_waits_for_its_children_and_fails_with_them_once_all_have_ended() {
    let app = app(true).await;
    let (root, _) = flow(&app, &[&["answer"], &["retry"], &["succeed"]]).await;
    assert_eq!(until(&app, root, RunState::Completed).await.result.unwrap(), "gathered");
    let (root, children) = flow(&app, &[&["fail"], &["succeed"], &["succeed"]]).await;
    let failed = until(&app, root, RunState::Failed).await;
    assert_eq!(failed.reason.as_deref(), Some("child_failed"));
    for &child in &children[1..] {
        assert_eq!(find(&app, child).await.state, RunState::Completed);
    }
    let (status, answer) = app.post(&format!("/api/v1/runs/{root}/retry")).await;
    assert!(status.is_success(), "{answer}");
    until(&app, root, RunState::Completed).await;
    assert_eq!(outcomes(&app, children[0]).await, ["failed", "completed"]);
    assert_eq!(outcomes(&app, children[1]).await, ["completed"], "what completed did not run again");
}

#[tokio::test(flavor = "multi_thread")]
async fn retrying_a_child_makes_its_ended_parent_wait_again() {
    let app = app(true).await;
    let (root, children) = flow(&app, &[&["fail"], &["fail"]]).await;
    until(&app, root, RunState::Failed).await;
    app.post(&format!("/api/v1/runs/{}/retry", children[0])).await;
    until(&app, children[0], RunState::Completed).await;
    // The other child is still failed, so the parent fails again.
    until(&app, root, RunState::Failed).await;
    app.post(&format!("/api/v1/runs/{}/retry", children[1])).await;
    until(&app, root, RunState::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_flow_ends_waiting_and_running_children_and_admits_no_more() {
    let app = app(true).await;
    let (root, children) = flow(&app, &[&["wait"], &["wait"], &["wait"], &["wait"], &["wait"]]).await;
    until(&app, children[0], RunState::Running).await;
    let (status, answer) = app.post(&format!("/api/v1/runs/{root}/cancel")).await;
    assert!(status.is_success(), "{answer}");
    let mut conn = app.env.pool.get().await.unwrap();
    let late = enqueue_children(&mut conn, root, &[Obey::new(&[])], &EnqueueOptions::by("test")).await;
    assert!(matches!(late, Err(shared::runs::RunError::FlowCancelled)), "{late:?}");
    until(&app, root, RunState::Cancelled).await;
    for child in children {
        assert_eq!(find(&app, child).await.state, RunState::Cancelled);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_children_are_fine() {
    let app = app(false).await;
    let orders: Vec<&[&str]> = vec![&["answer"]; 10_000];
    let (root, _) = flow(&app, &orders).await;
    // Closed in batches, as light kinds are.
    let worker = WorkerId::generate();
    let mut conn = app.env.pool.get().await.unwrap();
    register(&mut conn, worker).await;
    loop {
        let claimed = queries::claim_runs(&mut conn, "default", worker, 500, &["obey"], &[]).await.unwrap();
        if claimed.is_empty() {
            break;
        }
        let closings: Vec<_> = claimed
            .iter()
            .map(|run| serde_json::json!({"id": run.id, "token": run.claim_token, "outcome": "completed"}))
            .collect();
        let closed = queries::close_runs(&mut conn, &closings.into()).await.unwrap();
        assert_eq!(closed.len(), claimed.len());
    }
    let run = find(&app, root).await;
    assert_eq!((run.state, run.blocked_by), (RunState::Available, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_no_longer_holds_closes_nothing_and_spoils_no_batch() {
    let app = app(false).await;
    let (one, two) = (put(&app, &[]).await, put(&app, &[]).await);
    let worker = WorkerId::generate();
    let mut conn = app.env.pool.get().await.unwrap();
    register(&mut conn, worker).await;
    let claimed = queries::claim_runs(&mut conn, "default", worker, 5, &["obey"], &[]).await.unwrap();
    assert_eq!(claimed.len(), 2);
    let token = |id: RunId| claimed.iter().find(|run| run.id == id).unwrap().claim_token;
    let stale = serde_json::json!([
        {"id": one, "token": ClaimToken::generate(), "outcome": "completed"},
        {"id": two, "token": token(two), "outcome": "completed"},
    ]);
    let closed = queries::close_runs(&mut conn, &stale).await.unwrap();
    assert_eq!(closed, [queries::ClosedRun { id: two, state: RunState::Completed }]);
    assert_eq!(find(&app, one).await.state, RunState::Running);
    let context = RunContext {
        run_id: one,
        flow_id: one,
        parent_id: None,
        token: ClaimToken::generate(),
        attempt: 1,
        cancel: Default::default(),
        env: app.env.clone(),
    };
    let refused = context.complete(&mut conn, &serde_json::Value::Null).await;
    assert!(matches!(refused, Err(shared::runs::RunError::FenceLost)), "{refused:?}");
    assert_eq!(find(&app, one).await.state, RunState::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_unique_enqueues_make_one_run() {
    let app = app(true).await;
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(8));
    let enqueues = (0..8).map(|_| {
        let (env, barrier) = (app.env.clone(), barrier.clone());
        tokio::spawn(async move {
            let mut conn = env.pool.get().await.unwrap();
            barrier.wait().await;
            let mut ids = Vec::new();
            for _ in 0..25 {
                let by = EnqueueOptions { run_at: Some(far()), ..EnqueueOptions::by("test") };
                ids.push(enqueue(&mut conn, &Only { key: "k".into() }, &by).await.unwrap());
            }
            ids
        })
    });
    let mut all = Vec::new();
    for enqueues in enqueues.collect::<Vec<_>>() {
        all.extend(enqueues.await.unwrap());
    }
    assert_eq!(all.len(), 200);
    assert_eq!(all.iter().filter(|run| run.created).count(), 1);
    assert!(all.iter().all(|run| run.id == all[0].id));
}

fn far() -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp(4_000_000_000, 0).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_unique_until_it_starts_lets_the_next_wait_beside_it() {
    let app = app(true).await;
    let mut conn = app.env.pool.get().await.unwrap();
    let by = EnqueueOptions::by("test");
    let job = Only { key: "refresh".into() };
    let first = enqueue(&mut conn, &job, &by).await.unwrap();
    until(&app, first.id, RunState::Running).await;
    let later = EnqueueOptions { run_at: Some(far()), ..by };
    let second = enqueue(&mut conn, &job, &later).await.unwrap();
    assert!(second.created && second.id != first.id);
    let third = enqueue(&mut conn, &job, &later).await.unwrap();
    assert_eq!((third.created, third.id), (false, second.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_puts_runs_back_and_burns_no_attempt() {
    let mut app = app(false).await;
    let stop = app.start_worker();
    let id = put(&app, &["wait", "succeed"]).await;
    until(&app, id, RunState::Running).await;
    stop.cancel();
    let run = until(&app, id, RunState::Available).await;
    assert_eq!(outcomes(&app, id).await, ["interrupted"]);
    assert_eq!((run.attempt, run.max_attempts), (1, 4));
    app.start_worker();
    until(&app, id, RunState::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_workers_runs_are_taken_over_and_its_connections_ended() {
    let app = app(true).await;
    // A worker that claims and then says nothing any more; it even holds a lock.
    let silent = WorkerId::generate();
    let url = shared::db::named_url(&app.db.url, &silent.to_string());
    let zombie = shared::db::connect(&url).await.unwrap();
    let id = RunId::generate();
    zombie
        .batch_execute(&format!(
            "INSERT INTO workers (id, host, pid, version, lease_ms) VALUES ('{silent}', 'gone', 1, 'test', 500);
             INSERT INTO runs (id, kind, queue, args, state, attempt, max_attempts, claim_token, worker_id, flow_id, created_by)
             VALUES ('{id}', 'obey', 'default', '{{\"orders\": []}}', 'running', 1, 3, gen_random_uuid(), '{silent}', '{id}', 'test');
             INSERT INTO run_attempts (run_id, attempt, worker_id) VALUES ('{id}', 1, '{silent}')"
        ))
        .await
        .unwrap();
    zombie.batch_execute(&format!("BEGIN; SELECT 1 FROM runs WHERE id = '{id}' FOR UPDATE")).await.unwrap();
    let run = until(&app, id, RunState::Completed).await;
    assert_eq!((run.attempt, run.crashes), (2, 1));
    assert_eq!(outcomes(&app, id).await, ["crashed", "completed"]);
    assert!(zombie.batch_execute("SELECT 1").await.is_err(), "its connection was ended");
    let state: String = app.db.one("SELECT state FROM workers WHERE id = $1", &[&silent.0]).await;
    assert_eq!(state, "dead");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_was_declared_dead_begins_anew() {
    let app = app(true).await;
    let id = put(&app, &["wait"]).await;
    let first = until(&app, id, RunState::Running).await.worker_id.unwrap();
    app.db.client.execute("UPDATE workers SET state = 'dead' WHERE id = $1", &[&first.0]).await.unwrap();
    until(&app, id, RunState::Completed).await;
    assert_eq!(outcomes(&app, id).await, ["crashed", "completed"]);
    let attempts = queries::attempts(&mut app.env.pool.get().await.unwrap(), id).await.unwrap();
    let again = attempts[1].worker_id;
    assert_ne!(again, first);
    let state: String = app.db.one("SELECT state FROM workers WHERE id = $1", &[&again.0]).await;
    assert_eq!(state, "alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_answer_got_lost_is_given_back() {
    let app = app(true).await;
    let worker: uuid::Uuid = eventually("the worker", || async {
        app.db.client.query_opt("SELECT id FROM workers", &[]).await.unwrap().map(|row| row.get(0))
    })
    .await;
    let id = put(&app, &[]).await;
    until(&app, id, RunState::Completed).await;
    let lost = RunId::generate();
    app.db
        .client
        .batch_execute(&format!(
            "INSERT INTO runs (id, kind, queue, args, state, attempt, max_attempts, claim_token, worker_id, flow_id, created_by)
             VALUES ('{lost}', 'obey', 'default', '{{\"orders\": []}}', 'running', 1, 3, gen_random_uuid(), '{worker}', '{lost}', 'test');
             INSERT INTO run_attempts (run_id, attempt, worker_id) VALUES ('{lost}', 1, '{worker}')"
        ))
        .await
        .unwrap();
    until(&app, lost, RunState::Completed).await;
    assert_eq!(outcomes(&app, lost).await, ["interrupted", "completed"]);
}
